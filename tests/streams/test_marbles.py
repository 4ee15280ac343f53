"""Run the marble diagrams of docs/streams.md on a virtual clock."""

import asyncio
import re
from pathlib import Path

import pytest

from dual_mode_streaming import streams
from dual_mode_streaming.streams import Broadcast, Overflow, Stream

from .scripts import Boom, play

PAGE = (Path(__file__).parents[2] / "docs" / "streams.md").read_text("utf-8")
BLOCKS = re.findall(r"^```text\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
NAMES = {**vars(streams), "Broadcast": Broadcast, "Overflow": Overflow}


def parse(diagram):
    """Return a list of (second, item), where "|" is the end and "#" an error."""
    events = []
    for match in re.finditer(r"\((.+?)\)|\[(.+?)\]|([^-])", diagram):
        together, one_list, single = match.groups()
        events += [(match.start(), what) for what in together or [one_list or single]]
    return events


async def source(diagram):
    clock = asyncio.get_running_loop().time
    for second, what in parse(diagram):
        await asyncio.sleep(second - clock())
        if what == "#":
            raise Boom
        if what == "|":
            return
        yield what


async def watch(stream, pause):
    clock = asyncio.get_running_loop().time
    events = []
    try:
        async with stream:
            async for item in stream:
                events.append((clock(), "".join(item) if isinstance(item, (list, tuple)) else item))
                await asyncio.sleep(pause)
    except (Boom, TimeoutError, streams.StreamOverflow):
        events.append((clock(), "#"))
    else:
        events.append((clock(), "|"))
    return events


def rows():
    """Yield each expression of the page: its sources, the pause of the reader, and the output."""
    for block in BLOCKS:
        sources, pause, found = {}, 0, []
        for line in block.splitlines():
            if paces := re.fullmatch(r"the reader takes (\d+) s for each item", line):
                pause = int(paces[1])
                continue
            code, diagram = re.split(r"\s{2,}", line)
            if not code:  # one more output of the expression above
                found[-1][-1].append(diagram)
            elif code.isidentifier():
                sources[code] = diagram
            else:
                found.append((code, sources, pause, [diagram]))
        yield from found


ROWS = list(rows())


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_diagram_shows_what_happens(row):
    code, sources, pause, diagrams = row

    async def program():
        given = {name: source(diagram) for name, diagram in sources.items()}
        made = eval(code, NAMES, given)
        made = [made] if isinstance(made, Stream) else made
        for name, stream in given.items():
            if name not in re.findall(r"\w+", code):
                await stream.aclose()
        return await asyncio.gather(*(watch(stream, pause) for stream in made))

    assert play("asyncio", program) == [parse(diagram) for diagram in diagrams]


def test_every_operator_has_its_diagram():
    shown = " ".join(code for code, *_ in ROWS)
    for name in streams.__all__:
        operator = getattr(streams, name)
        takes_a_stream = "stream" in getattr(getattr(operator, "__code__", None), "co_varnames", ())
        if name.islower() and takes_a_stream and name not in ("gather_stream", "gather_text"):
            assert re.search(rf"\b{name}\(", shown) or name == "enqueue", name
