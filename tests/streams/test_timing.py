"""Operators of time, on a virtual clock."""

import asyncio
from pathlib import Path

import pytest

from dual_mode_streaming import streams
from dual_mode_streaming.streams import (
    batched,
    deadline,
    endless_stream,
    gather_stream,
    heartbeat,
    idle_timeout,
    pace,
    stream_content,
    throttle,
)

from .scripts import Boom, Source, play


async def at(*times):
    """Yield each time at that time."""
    clock = asyncio.get_running_loop().time
    for time in times:
        await asyncio.sleep(time - clock())
        yield time


def beating(stream, seconds):
    return heartbeat(stream, seconds, str)


def watch(make, pause=0.0):
    """Return the items with the times of their arrival, and the error, for a reader that pauses."""

    async def program():
        clock = asyncio.get_running_loop().time
        seen = []
        try:
            async with make() as stream:
                async for item in stream:
                    seen.append((round(clock(), 6), item))
                    await asyncio.sleep(pause)
        except (TimeoutError, Boom) as error:
            seen.append((round(clock(), 6), error))
        return seen

    return play("asyncio", program)


def test_a_heartbeat_whenever_the_reader_has_waited_for_the_interval():
    seen = watch(lambda: heartbeat(at(1, 12, 13), 5, lambda: "beat"))
    assert seen == [(1, 1), (6, "beat"), (11, "beat"), (12, 12), (13, 13)]


def test_a_heartbeat_cancels_no_anext_of_its_stream():
    source = Source([12.0, "item"])
    assert watch(lambda: heartbeat(source.stream(), 5, str)) == [(5, ""), (10, ""), (12, (0, 0))]
    assert source.closed == 1


def test_an_error_of_the_beat_ends_the_stream():
    def fail():
        raise Boom("beat")

    source = Source([12.0, "item"])
    (when, error), *rest = watch(lambda: heartbeat(source.stream(), 5, fail))
    assert (when, str(error), rest) == (5, "beat", [])
    assert source.closed == 1


def test_an_idle_timeout_counts_from_item_to_item():
    *items, (when, error) = watch(lambda: idle_timeout(at(4, 8, 12, 18), 5))
    assert items == [(4, 4), (8, 8), (12, 12)]
    assert (when, type(error), str(error)) == (17, TimeoutError, "no item for 5 s")


def test_the_first_item_may_take_longer():
    *items, (when, error) = watch(lambda: idle_timeout(at(20, 22, 30), 3, first=30))
    assert (items, when, type(error)) == ([(20, 20), (22, 22)], 25, TimeoutError)
    ((when, error),) = watch(lambda: idle_timeout(at(20), 3, first=10))
    assert (when, str(error)) == (10, "no item for 10 s")


def test_a_busy_reader_is_not_an_idle_stream():
    assert [item for _, item in watch(lambda: idle_timeout(at(1, 2, 3), 5), pause=30)] == [1, 2, 3]


def test_a_deadline_counts_from_the_first_read_for_a_slow_source_or_reader():
    *items, (when, error) = watch(lambda: deadline(at(*range(1, 100)), 10.5))
    assert [item for _, item in items] == list(range(1, 11))
    assert (when, type(error)) == (10.5, TimeoutError)
    assert str(error) == "the stream did not end within 10.5 s"

    *items, (when, error) = watch(lambda: deadline(at(1, 2, 3, 4, 5), 10), pause=4)
    assert items == [(1, 1), (5, 2), (9, 3)]
    assert (when, type(error)) == (
        13,
        TimeoutError,
    )  # at its next request

    assert watch(lambda: deadline(at(1, 2), 10)) == [(1, 1), (2, 2)]


def test_pace_keeps_items_apart_and_loses_none():
    assert watch(lambda: pace(at(1, 2, 3, 20), 5)) == [(1, 1), (6, 2), (11, 3), (20, 20)]


def test_throttle_yields_the_newest_and_counts_the_others():
    streams = []

    def make():
        streams.append(throttle(at(1, 2, 3, 4, 20), 5))
        return streams[0]

    assert watch(make) == [(1, 1), (6, 4), (20, 20)]
    assert streams[0].dropped == 2


def test_batches_are_full_or_due():
    assert watch(lambda: batched(stream_content("abcde"), 2)) == [
        (0, ["a", "b"]),
        (0, ["c", "d"]),
        (0, ["e"]),
    ]
    assert watch(lambda: batched(at(1, 2, 3, 10, 20), 3, max_wait=4)) == [
        (3, [1, 2, 3]),
        (14, [10]),
        (20, [20]),
    ]


@pytest.mark.parametrize("max_wait", [None, 5])
def test_an_incomplete_batch_is_yielded_before_the_error(max_wait):
    async def failing():
        yield 1
        yield 2
        yield 3
        raise Boom

    *batches, (_, error) = watch(lambda: batched(failing(), 2, max_wait))
    assert [batch for _, batch in batches] == [[1, 2], [3]]
    assert isinstance(error, Boom)


def test_a_batch_has_at_least_one_item():
    with pytest.raises(ValueError, match="n must be at least 1"):
        batched(endless_stream(), 0)


@pytest.mark.parametrize("operator", [idle_timeout, deadline, pace, throttle, beating])
@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_invalid_seconds_are_refused_at_once(operator, seconds):
    with pytest.raises(ValueError, match="seconds must be above 0, not"):
        operator(endless_stream(), seconds)
    with pytest.raises(ValueError, match="max_wait must be at least 0, not -1"):
        batched(endless_stream(), 3, -1)


def test_no_other_module_reads_the_clock():
    for path in Path(streams.__file__).parent.glob("*.py"):
        if path.name != "_timing.py":
            text = path.read_text("utf-8")
            for word in ("call_later", "call_at", ".time()", "asyncio.sleep", "wait_for("):
                assert word not in text.replace("`asyncio.sleep(0)`", ""), f"{path.name}: {word}"


def test_a_test_that_hangs_is_detected():
    async def program():
        return await gather_stream(endless_stream())

    with pytest.raises(AssertionError, match="it does not terminate"):
        play("asyncio", program)
