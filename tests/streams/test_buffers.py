"""Bounds of items and bytes, and what each policy drops when they are reached."""

import asyncio
from operator import add

import pytest

from dual_mode_streaming.streams import Overflow, StreamOverflow, buffer, gather_stream

from .scripts import Boom, Source, play


async def burst(items, boom=None):
    """Yield a first item; after one second all others at once; after 100 seconds, end."""
    yield None
    await asyncio.sleep(1)
    for item in items:
        yield item
    await asyncio.sleep(100)
    if boom is not None:
        raise boom


async def late(stream):
    """Read the first item, then the others after the burst, up to the end or an overflow."""
    got = []
    async with stream:
        assert await anext(stream) is None
        await asyncio.sleep(2)
        try:
            async for item in stream:
                got.append(item)
        except StreamOverflow as error:
            got.append(str(error))
    return got


def size(item):
    return 0 if item is None else len(item)


def after_a_burst(items, maxsize, overflow, **options):
    """Return what is left of a burst, and how many items were dropped."""

    async def program():
        stream = buffer(burst(items), maxsize, overflow=overflow, **options)
        return await late(stream), stream.dropped

    return play("asyncio", program)


def test_block_loses_nothing_and_reads_ahead_up_to_its_bound():
    source = Source(["item"] * 100)

    async def program():
        async with buffer(source.stream(), 8) as items:
            await anext(items)
            await asyncio.sleep(1)
            assert len(source.pulled) <= 1 + 8
            assert len([item async for item in items]) == 99

    play("asyncio", program)


def test_drop_oldest_keeps_the_newest():
    assert after_a_burst(range(10), 3, Overflow.DROP_OLDEST) == ([7, 8, 9], 7)


def test_drop_newest_keeps_the_oldest():
    assert after_a_burst(range(10), 3, Overflow.DROP_NEWEST) == ([0, 1, 2], 7)


def test_coalesce_makes_one_of_the_two_newest():
    assert after_a_burst(range(10), 3, Overflow.COALESCE) == ([0, 1, 9], 7)
    added, dropped = after_a_burst(range(10), 3, Overflow.COALESCE, coalesce=add)
    assert added == [0, 1, sum(range(2, 10))]
    assert dropped == 0


def test_dropped_items_are_reported_before_the_next_item():
    got, dropped = after_a_burst(
        range(10), 3, Overflow.DROP_OLDEST, on_drop=lambda count: f"{count} lost"
    )
    assert (got, dropped) == (["7 lost", 7, 8, 9], 7)


def test_error_delivers_the_buffer_and_then_fails():
    assert after_a_burst(range(9), 3, Overflow.ERROR) == ([0, 1, 2, "the buffer is full"], 0)


def test_disconnect_fails_at_once():
    message = "the reader was too slow and was disconnected"
    assert after_a_burst(range(9), 3, Overflow.DISCONNECT) == ([message], 0)


@pytest.mark.parametrize(
    ("overflow", "left"),
    [
        (Overflow.DROP_OLDEST, [b"dd", b"e"]),
        (Overflow.DROP_NEWEST, [b"aaaa"]),
        (Overflow.COALESCE, [b"dd", b"e"]),
    ],
)
def test_bytes_are_a_bound_as_well(overflow, left):
    items = [b"aaaa", b"bbb", b"ccc", b"dd", b"e"]
    got, dropped = after_a_burst(items, 100, overflow, max_bytes=4, size_of=size)
    assert got == left
    assert dropped == len(items) - len(left)


def test_a_single_item_above_the_bound_of_bytes_is_accepted():
    bound = {"max_bytes": 4, "size_of": size}
    got, dropped = after_a_burst([b"x" * 100, b"y"], 9, Overflow.DROP_OLDEST, **bound)
    assert (got, dropped) == ([b"y"], 1)
    assert after_a_burst([b"x" * 100], 9, Overflow.BLOCK, **bound) == ([b"x" * 100], 0)


def test_block_with_bytes_pulls_at_most_one_item_above_the_bound():
    pulled = []

    async def source():
        for n in range(100):
            pulled.append(n)
            yield b"four"

    async def program():
        async with buffer(source(), max_bytes=10) as items:
            await anext(items)
            await asyncio.sleep(1)
            assert len(pulled) <= 1 + 3
            assert len([item async for item in items]) == 99

    play("asyncio", program)


def test_the_size_of_an_item_must_be_known():
    async def program():
        with pytest.raises(TypeError, match="max_bytes needs size_of for items of type NoneType"):
            await gather_stream(buffer(burst([1]), max_bytes=4))
        measured = buffer(burst([1, 2]), max_bytes=4, size_of=lambda _: 1)
        assert await gather_stream(measured) == [None, 1, 2]
        with pytest.raises(ValueError, match="max_bytes must be at least 1, not 0"):
            buffer(burst([]), max_bytes=0)

    play("asyncio", program)


@pytest.mark.parametrize("overflow", Overflow)
def test_an_error_comes_after_the_items_in_the_buffer(overflow):
    boom = Boom()

    async def program():
        stream = buffer(burst("ab", boom), overflow=overflow)
        got = []
        with pytest.raises(Boom) as raised:  # noqa: PT012
            async for item in stream:
                got.append(item)
        assert raised.value is boom
        assert got == [None, "a", "b"]
        assert stream.dropped == 0

    play("asyncio", program)
