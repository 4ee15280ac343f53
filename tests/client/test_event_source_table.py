"""What an EventSource reads from what is sent: the inputs of the web platform tests, in our words.

Each one at every cut in the decoder, and byte by byte in both clients.
"""

import pytest

from dual_mode_streaming.client import WHATWG, Event, Reconnect
from dual_mode_streaming.sse import EventDecoder
from tests.helpers.scripted import Answer

AT_ONCE = Reconnect(attempts=3, delay=0, max_wait=0.01, jitter=0)
BOM = b"\xef\xbb\xbf"

# What is sent, and the events: (data,), (data, name) or (data, name, id).
TABLE = {
    "a BOM is dropped": (BOM + b"data:1\n\n", [("1",)]),
    "a BOM is dropped once": (BOM + BOM + b"data:1\n\ndata:2\n\n", [("2",)]),
    "a BOM later is a part of the name": (
        b"data:1\n\n" + BOM + b"data:2\n\ndata:3\n\n", ["1", "3"]
    ),
    "comments": (
        b"data:1\r:\0\n:\r\ndata:2\n:" + b"x" * 2048 + b"\rdata:3\n:data:fail\n\n", ["1\n2\n3"],
    ),
    "data with and without a space": (b"data:  1\ndata:2\n\ndata:\t3\n\n", [" 1\n2", "\t3"]),
    "data before the end": (b"retry:0\ndata:1\n\ndata:2\n\ndata:lost", ["1", "2"]),
    "data with one line end before the end": (b"data:1\n\ndata:lost\n", ["1"]),
    "empty data": (b"data:\n\ndata\ndata\n\ndata:1\n\n", ["", "\n", "1"]),
    "only an empty event": (b"event:x\n\ndata:1\n\n", ["1"]),
    "a name": (b"event:test\ndata:1\n\ndata:2\n\n", [("1", "test"), ("2",)]),
    "an empty name": (b"event: \ndata:1\n\nevent:x\nevent:\ndata:2\n\n", ["1", "2"]),
    "the last name counts": (b"event:a\nevent:b\ndata:1\n\n", [("1", "b")]),
    "leading spaces": (b" data:x\ndata:1\n data:y\n\n", ["1"]),
    "unknown fields": (b"data:1\n data:2\ndatax:3\nDATA:4\n\0data:5\nda-ta:6\n\n", ["1"]),
    "no colon": (b"data\nevent\nid\n\n", [("", None, "")]),
    "a colon in the value": (b"data:a:b\n\ndata: :\n\n", ["a:b", ":"]),
    "all line ends": (b"data:1\r\ndata:2\rdata:3\n\r\ndata:4\r\r", ["1\n2\n3", "4"]),
    "CR and LF at the end": (b"data:1\r\n\r\ndata:2\r\n\r\n\r\n", ["1", "2"]),
    "CR LF after CR": (b"data:1\r\rdata:2\r\n\r", ["1", "2"]),
    "other line separators": (
        "data:a\u2028b\u0085c\x0b\x0cd\x1ce\n\n".encode(), ["a\u2028b\x85c\x0b\x0cd\x1ce"],
    ),
    "NUL in data": (b"data:\0\n\n", ["\0"]),
    "an id stays": (b"id:1\ndata:1\n\ndata:2\n\n", [("1", None, "1"), ("2", None, "1")]),
    "an id with a NUL is ignored": (
        b"id:a\nid:b\0c\ndata:1\n\nid:\0\ndata:2\n\n", [("1", None, "a"), ("2", None, "a")],
    ),
    "an empty id clears": (b"id:a\ndata:1\n\nid\ndata:2\n\n", [("1", None, "a"), ("2", None, "")]),
    "an id without data": (b"id:a\n\ndata:1\n\n", [("1", None, "a")]),
    "an id beyond ASCII": ("id: …é🎈\ndata:1\n\n".encode(), [("1", None, "…é🎈")]),
    "an id with spaces": (b"id:  a b \ndata:1\n\n", [("1", None, " a b ")]),
    "retry is digits": (b"retry:1x\nretry:-1\nretry:1.0\nretry: 0\nretry:\ndata:1\n\n", ["1"]),
    "UTF-8": ("data:ok…\ndata:日本🎈\n\n".encode(), ["ok…\n日本🎈"]),
    "not UTF-8": (b"data:\xff\xfe\n\ndata:\xe2\x82\n\n", ["\ufffd\ufffd", "\ufffd"]),
    "nothing": (b"\n\n\r\r\n", []),
}  # fmt: skip


def expected(name: str) -> list[tuple[str, str | None]]:
    rows = [(row,) if isinstance(row, str) else row for row in TABLE[name][1]]
    return [(*row, None, None)[:3] for row in rows]


@pytest.mark.parametrize("name", TABLE)
def test_the_decoder_at_every_cut(name):
    wire = TABLE[name][0]
    for cut in range(len(wire) + 1):
        decoder = EventDecoder()
        events = [event for part in (wire[:cut], wire[cut:]) for event in decoder.feed(part)]
        assert [(e.data, e.event, e.id) for e in events] == expected(name), cut


@pytest.mark.asyncio(loop_scope="package")
async def test_both_clients_byte_by_byte(server, harness):
    for name, (wire, _) in TABLE.items():
        chunks = [wire[n : n + 1] for n in range(min(len(wire), 300))] + [wire[300:]]
        server.then(Answer(list(filter(None, chunks))), Answer(status=204, media=None))
        await harness.read(server.url, dialect=WHATWG, model=None, reconnect=AT_ONCE)
        events: list[Event[str]] = harness.events
        assert [(e.data, e.event, e.id) for e in events] == expected(name), name
