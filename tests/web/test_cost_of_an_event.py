"""What an event costs, in counts: sends, turns of the event loop, memory, interpreted instructions.

None of it is timed, so it says the same on a loaded machine. A bound is what was counted when it
was written and 15% more, less than one more call an event; who raises one says why beside it.
"""

import asyncio
import sys
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import BaseModel

import dual_mode_streaming
from dual_mode_streaming import DualModeResponse, ResponseMode
from dual_mode_streaming.rendering import ItemCodec, Representation
from dual_mode_streaming.running import timeslice

PACKAGE = str(Path(dual_mode_streaming.__file__).parent)


class Item(BaseModel):
    index: int
    message: str


CODEC = ItemCodec(Item)
ROOM = 1.0 if sys.version_info[:2] == (3, 11) else 1.3  # another Python has other instructions
READY = Item(
    index=1, message="an item that is ready, in a frame of some hundred bytes, as most are"
)


async def busy(n: int) -> AsyncIterator[Item]:
    for _ in range(n):
        yield READY


async def paced(n: int) -> AsyncIterator[Item]:
    for _ in range(n):
        await asyncio.sleep(0)
        yield READY


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts what it runs: steps of tasks, and callbacks."""

    steps = 0

    def call_soon(self, *args, **kwargs):
        self.steps += 1
        return super().call_soon(*args, **kwargs)


class Instructions:
    """Counts the instructions that are interpreted in frames of the package, and in no others."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> "Instructions":
        self._before = sys.gettrace()  # that of `make coverage`
        sys.settrace(self._on_call)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.settrace(self._before)

    def _on_call(self, frame, event, arg):
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._on_event

    def _on_event(self, frame, event, arg):
        self.count += event == "opcode"
        return self._on_event


def cost(source, n, mode=ResponseMode.STREAM, *, instructions=False):
    """Answer `n` items: how many sends, steps of the loop, instructions of ours."""
    sends = []

    async def receive():
        await asyncio.get_running_loop().create_future()

    async def send(message):
        sends.append(len(message.get("body", b"")))

    async def answer():
        loop = asyncio.get_running_loop()
        response = DualModeResponse(source(n), mode=mode, representation=Representation(CODEC))
        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
        began = loop.steps
        if instructions:
            with Instructions() as counted:
                await response(scope, receive, send)
            return counted.count, loop.steps - began
        await response(scope, receive, send)
        return 0, loop.steps - began

    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        counted, steps = runner.run(answer())
    assert sum(sends) > n * 60
    return len(sends), steps, counted


@pytest.fixture
def long_timeslices(monkeypatch):
    """The clock has no say: turns do not end, however slowly a traced program runs."""
    monkeypatch.setattr(timeslice, "STREAM_SECONDS", 1e9)
    monkeypatch.setattr(timeslice, "BATCH_SECONDS", 1e9)
    monkeypatch.setattr(timeslice, "QUICK_SECONDS", 1e9)


@pytest.mark.parametrize("of_batch", [False, True])
def test_a_slow_source_is_looked_at_for_each_item(of_batch):
    """Else a batch of items of 0.15 ms would hold the loop for 32 of them, again and again."""
    taken = timeslice.Timeslice(of_batch=of_batch)
    now = taken.ends
    taken.items_until_check(now)
    for _ in range(3):
        now += 0.00015
        assert taken.items_until_check(now) == 1
    now += 0.000001
    many = taken.items_until_check(now)
    assert many == (32 if of_batch else 8)
    assert taken.items_until_check(now + many * 0.00015) == 1


def test_a_busy_source_leaves_in_large_sends(long_timeslices):
    """A send costs more than all else of an event together: about 130 events share one."""
    sends, steps, _ = cost(busy, 13_000)
    assert sends <= 13_000 / 100
    assert steps < 20, "a send that does not wait needs no turn of the loop, nor has anyone a task"


def test_a_source_that_waits_is_sent_item_by_item_within_its_own_turns(long_timeslices):
    """One send an event, or it would be late; and no step of the loop but the source's own."""
    sends, steps, _ = cost(paced, 1_000)
    assert sends == 1_000 + 1, "the head, and an event each; the last goes with the end"
    assert steps <= 1_000 + 20, "neither a queue nor a second task stands between source and socket"


def test_a_stream_takes_no_more_memory_for_more_events(long_timeslices):
    cost(busy, 100)
    peaks = []
    for n in (1_000, 10_000):
        tracemalloc.start()
        cost(busy, n)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 32 * 1024


@pytest.mark.parametrize(
    ("source", "mode", "bound", "why"),
    [
        (busy, ResponseMode.STREAM, 88, "encode, frame, append; the clock for one in eight"),
        (paced, ResponseMode.STREAM, 336, "that, and a send with its watch for a stalled reader"),
        (busy, ResponseMode.BATCH, 29, "append; the clock for one in eight, pydantic for 128"),
        (busy, ResponseMode.LINES, 115, "encode, append; for an item of the exact type no more"),
    ],
    ids=["busy stream", "paced stream", "batch", "lines"],
)
def test_instructions_of_an_event(source, mode, bound, why, long_timeslices):
    few, many = (cost(source, n, mode, instructions=True)[2] for n in (200, 1_200))
    each = (many - few) / 1_000
    assert each <= bound * ROOM, f"{each:.1f} instructions; {bound} are enough: {why}"


@pytest.mark.parametrize(
    ("mode", "bound"), [(ResponseMode.STREAM, 1705), (ResponseMode.BATCH, 1260)]
)
def test_instructions_of_an_answer(mode, bound, long_timeslices):
    """What a short stream, or a small batch, costs before its items do."""
    cost(busy, 1, mode)  # what is made once, like the usual headers
    count = cost(busy, 1, mode, instructions=True)[2]
    assert count <= bound * ROOM, f"{count} instructions; {bound} are enough"
