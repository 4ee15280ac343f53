"""Random lists of events, encoded by us and read by the packages that others read them with."""

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dual_mode_streaming.sse import HEARTBEAT, EventDecoder, ServerSentEvent
from tests.environments import environment

HERE = Path(__file__).parent
NAMES = ["update", "naïve 🎈", "a:b", "a b"]
# Not what str.splitlines splits at, besides CR and LF: httpx-sse takes that for line ends.
TEXT = [
    "",
    " ",
    "a",
    "\n",
    "\r",
    "\r\n",
    ":",
    "data:",
    "é",
    "日本",
    "🎈",
    "\t",
    "%00",
    "\\",
    "\x01",
]
IDS = ["1", "2.1.3", "é🎈", "100% a", "x" * 300, ""]


def random_list(seed: int) -> list[ServerSentEvent]:
    rng = random.Random(seed)
    return [
        ServerSentEvent(
            data="".join(rng.choices(TEXT, k=rng.randrange(8))) or "x",
            event=rng.choice([None, *NAMES]),
            id=rng.choice([None, *IDS]),
            retry=rng.choice([None, None, 0, 1500]),
            comment=rng.choice([None, None, "a\nb", ""]),
        )
        for _ in range(rng.randrange(1, 8))
    ]


def lists_of(count: int) -> tuple[list[dict[str, Any]], list[list[Any]]]:
    """Return what is sent, and what is to be read: data, name and the id in force."""
    sent, expected = [], []
    for seed in range(count):
        events, id, rows = random_list(seed), "", []
        for event in events:
            id = event.id if event.id is not None else id
            data = event.data.replace("\r\n", "\n").replace("\r", "\n")
            rows.append([data, event.event, id])
        wire = b"".join(
            frame
            for event in events
            for frame in (ServerSentEvent(retry=7).encode(), HEARTBEAT, event.encode())
        )
        sent.append({"wire": wire.decode(), "names": NAMES})
        expected.append(rows)
    return sent, expected


def test_our_own_decoder_reads_them():
    sent, expected = lists_of(200)
    for each, rows in zip(sent, expected, strict=True):
        decoder = EventDecoder()
        events = decoder.feed(each["wire"].encode())
        assert [[e.data, e.event, e.id or ""] for e in events] == rows


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", ["node", "python"])
def test_the_readers_of_others_read_them(language):
    if language == "node":
        home = environment("sse", HERE / "sse" / "package.json", HERE / "sse" / "package-lock.json")
        program = home / "read.mjs"  # node looks for packages above the program
        program.write_text((HERE / "sse" / "read.mjs").read_text("utf-8"))
        command = ["node", str(program)]
    else:
        home = environment("readers", HERE / "readers.txt")
        command = [str(home / "bin" / "python"), str(HERE / "read_events.py")]
    sent, expected = lists_of(2000)
    done = subprocess.run(
        command, input=json.dumps(sent), capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    read = json.loads(done.stdout)
    assert len(read) == (3 if language == "node" else 2)
    for name, lists in read.items():
        for seed, (events, rows) in enumerate(zip(lists, expected, strict=True)):
            assert events == rows, (name, seed)
