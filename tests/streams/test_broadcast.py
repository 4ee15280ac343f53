"""One producer, many subscribers: each has its own bound and does not affect the others."""

import asyncio
import contextvars
import gc
import itertools
import weakref

import pytest

from dual_mode_streaming.streams import (
    Broadcast,
    Overflow,
    StreamOverflow,
    gather_stream,
    stream_content,
    take,
)

from .scripts import Boom, Source, play


def test_all_subscribers_get_all_items_and_they_are_produced_once():
    source = Source(["item", "suspend"] * 100)

    async def program():
        async with Broadcast(source.stream()) as cast:
            subscribers = [cast.subscribe() for _ in range(50)]
            assert cast.subscribers == 50
            for got in await asyncio.gather(*map(gather_stream, subscribers)):
                assert got == source.items
            assert cast.subscribers == 0

    play("asyncio", program)
    assert len(source.pulled) == 100


def test_nothing_is_produced_before_the_first_read():
    source = Source(["item"] * 3)

    async def program():
        async with Broadcast(source.stream()) as cast:
            subscriber = cast.subscribe()
            await asyncio.sleep(5)
            assert not source.started
            assert await gather_stream(subscriber) == source.items

    play("asyncio", program)
    assert source.closed == 1


def test_a_slow_subscriber_loses_its_own_oldest_items_and_gets_a_report():
    async def program():
        async with Broadcast(stream_content(range(10), 1), maxsize=64) as cast:
            fast = asyncio.create_task(gather_stream(cast.subscribe()))
            slow = cast.subscribe(maxsize=3, on_drop=lambda count: f"{count} lost")
            got = []
            async with slow:
                async for item in slow:
                    got.append(item)
                    await asyncio.sleep(4.5)
            assert await fast == list(range(10))
            reported = [int(item.split()[0]) for item in got if isinstance(item, str)]
            assert sum(reported) == slow.dropped > 0
            items = [item for item in got if not isinstance(item, str)]
            assert items == sorted(items)
            assert items[-3:] == [7, 8, 9]

    play("asyncio", program)


def test_a_burst_above_the_bound_is_cut_to_the_newest():
    async def program():
        async with Broadcast(stream_content(range(1000), None)) as cast:
            reader, idle = cast.subscribe(maxsize=1000), cast.subscribe(maxsize=5)
            assert await gather_stream(reader) == list(range(1000))
            assert await gather_stream(idle) == [995, 996, 997, 998, 999]
            assert idle.dropped == 995

    play("asyncio", program)


@pytest.mark.parametrize(
    ("overflow", "expected"),
    [
        (Overflow.DROP_OLDEST, [7, 8, 9]),
        (Overflow.DROP_NEWEST, [1, 2, 3]),
        (Overflow.COALESCE, [1, 2, 9]),
        (Overflow.ERROR, [1, 2, 3, StreamOverflow]),
        (Overflow.DISCONNECT, [StreamOverflow]),
    ],
)
def test_each_subscriber_has_its_own_policy(overflow, expected):
    async def program():
        async with Broadcast(stream_content(range(10), 1)) as cast:
            whole = asyncio.create_task(gather_stream(cast.subscribe()))
            subscriber = cast.subscribe(maxsize=3, overflow=overflow)
            assert await anext(subscriber) == 0
            await asyncio.sleep(100)
            got = []
            try:
                async for item in subscriber:
                    got.append(item)
            except StreamOverflow as error:
                got.append(type(error))
            assert got == expected
            assert await whole == list(range(10))

    play("asyncio", program)


def test_a_blocking_subscriber_makes_the_producer_wait_and_gets_all_items():
    source = Source(["item"] * 100)

    async def program():
        async with Broadcast(source.stream()) as cast:
            fast = asyncio.create_task(gather_stream(cast.subscribe()))
            slow = cast.subscribe(maxsize=4, overflow=Overflow.BLOCK)
            await anext(slow)
            await asyncio.sleep(10)
            assert len(source.pulled) <= 1 + 4 + 4
            assert len([item async for item in slow]) == 99
            assert await fast == source.items

    play("asyncio", program)


def test_a_subscriber_that_fails_or_leaves_does_not_affect_the_others():
    async def program():
        async def fails(stream):
            async with stream:
                async for _ in stream:
                    raise Boom

        async with Broadcast(stream_content(range(100), 1)) as cast:
            ends = await asyncio.gather(
                gather_stream(cast.subscribe()),
                fails(cast.subscribe()),
                fails(cast.subscribe(overflow=Overflow.BLOCK)),
                gather_stream(take(cast.subscribe(overflow=Overflow.BLOCK), 3)),
                return_exceptions=True,
            )
        assert ends[0] == list(range(100))
        assert [type(end) for end in ends[1:3]] == [Boom, Boom]
        assert ends[3] == [0, 1, 2]

    play("asyncio", program)


def test_a_late_subscriber_begins_with_the_history():
    async def program():
        async with Broadcast(stream_content(range(10), 1), history=3) as cast:
            early = cast.subscribe()
            assert [await anext(early) for _ in range(6)] == [0, 1, 2, 3, 4, 5]
            assert await gather_stream(cast.subscribe()) == [3, 4, 5, 6, 7, 8, 9]
            assert await gather_stream(cast.subscribe()) == [7, 8, 9]  # the source has ended
            assert await gather_stream(early) == [6, 7, 8, 9]

    play("asyncio", program)


def test_an_error_reaches_all_subscribers_also_later_ones():
    boom = Boom()

    async def failing():
        yield 1
        await asyncio.sleep(1)
        raise boom

    async def program():
        async with Broadcast(failing(), history=1) as cast:
            ends = await asyncio.gather(
                *(gather_stream(cast.subscribe()) for _ in range(3)), return_exceptions=True
            )
            assert ends == [boom] * 3
            late = cast.subscribe()
            assert await anext(late) == 1
            with pytest.raises(Boom) as raised:
                await anext(late)
            assert raised.value is boom

    play("asyncio", program)


def test_the_producer_starts_with_the_first_subscriber_and_stops_after_the_last():
    made = []

    def make():
        made.append(Source([1.0, "item"] * 1000, number=len(made)))
        return made[-1].stream()

    async def program():
        cast = Broadcast(make, stop_after_last=True)
        for round_ in range(3):
            one, two = cast.subscribe(), cast.subscribe()
            assert await anext(one) == await anext(two) == (round_, 0)
            await one.aclose()
            assert made[round_].closed == 0
            await two.aclose()
            assert made[round_].closed == 1
            assert made[round_].read_by == {made[round_].closed_by}

    play("asyncio", program)
    assert len(made) == 3


def test_by_default_it_keeps_running_and_stores_little_more_than_its_history():
    class Sample:
        def __init__(self, number):
            self.number = number
            alive.add(self)

    alive = weakref.WeakSet()

    async def program():
        samples = stream_content(map(Sample, itertools.count()), 1)
        async with Broadcast(samples, history=2) as cast:
            one = cast.subscribe()
            await anext(one)
            await one.aclose()
            await asyncio.sleep(5000)
            two = cast.subscribe()
            assert (await anext(two)).number > 4990
            assert len(alive) < 200
            await two.aclose()

    play("asyncio", program)


def test_closing_the_broadcast_ends_the_subscribers_cleanly():
    source = Source(["item", 1.0] * 100)

    async def program():
        cast = Broadcast(source.stream())
        reader = asyncio.create_task(gather_stream(cast.subscribe()))
        await asyncio.sleep(2.5)
        await cast.aclose()
        assert source.closed == 1
        assert await reader == source.items[:3]
        assert await gather_stream(cast.subscribe()) == []

    play("asyncio", program)


def test_a_subscriber_that_is_dropped_without_being_read_leaves():
    async def program():
        async with Broadcast(stream_content(range(100), 1), overflow=Overflow.BLOCK) as cast:
            reader = cast.subscribe()
            await anext(reader)
            assert cast.subscribers == 1
            cast.subscribe()
            gc.collect()
            assert cast.subscribers == 1
            assert len(await gather_stream(reader)) == 99

    play("asyncio", program)


def test_invalid_bounds_are_refused():
    for options in ({"maxsize": 0}, {"history": -1}):
        with pytest.raises(ValueError, match="at least 1"):
            Broadcast(stream_content("a"), **options)
    with pytest.raises(ValueError, match="at least 1, not 0"):
        Broadcast(stream_content("a")).subscribe(maxsize=0)


def test_a_thousand_subscribers_and_one_that_does_not_read():
    async def program():
        async with Broadcast(stream_content(range(200)), maxsize=200) as cast:
            asleep = cast.subscribe(maxsize=10)
            readers = [gather_stream(cast.subscribe()) for _ in range(1000)]
            assert all(got == list(range(200)) for got in await asyncio.gather(*readers))
            assert await gather_stream(asleep) == list(range(190, 200))

    play("asyncio", program)


def test_the_producer_runs_in_the_context_of_the_broadcast_not_of_its_first_reader():
    user = contextvars.ContextVar("user", default="none")

    async def samples():
        yield user.get()

    async def program():
        cast = Broadcast(samples, stop_after_last=True)
        user.set("the first reader")
        assert await gather_stream(cast.subscribe()) == ["none"]

    play("asyncio", program)


def test_an_error_of_the_source_function_reaches_all_subscribers():
    def make():
        made.append(1)
        raise Boom

    made = []

    async def program():
        cast = Broadcast(make, stop_after_last=True)
        assert made == []
        readers = [gather_stream(cast.subscribe()) for _ in range(3)]
        ends = await asyncio.gather(*readers, return_exceptions=True)
        assert [type(end) for end in ends] == [Boom] * 3
        assert made == [1]

    play("asyncio", program)
