"""merge, concat, zip and split: the order and the end of their output."""

import asyncio

import pytest

from dual_mode_streaming import streams
from dual_mode_streaming.streams import concat, gather_stream, merge, split, stream_content

from .scripts import Boom, Source, play


@streams.Processor
async def same(stream):
    async for item in stream:
        yield item


def ticks(name, delay, count=3):
    return stream_content([f"{name}{n}" for n in range(count)], delay, delay_first=True)


async def failing(after, boom, delay=0):
    for n in range(after):
        yield n
    await asyncio.sleep(delay)
    raise boom


def test_merge_yields_items_as_they_arrive():
    async def program():
        return await gather_stream(merge(ticks("a", 2), ticks("b", 3.5)))

    assert play("asyncio", program) == ["a0", "b0", "a1", "a2", "b1", "b2"]


@pytest.mark.parametrize("operator", [merge, concat])
def test_streams_or_one_iterable_of_them(operator):
    async def program():
        def two():
            return stream_content("a"), stream_content("b")

        assert await gather_stream(operator(*two())) == ["a", "b"]
        assert await gather_stream(operator(list(two()))) == ["a", "b"]
        assert await gather_stream(operator(iter(two()))) == ["a", "b"]
        assert await gather_stream(operator()) == []
        assert await gather_stream(operator([])) == []
        assert await gather_stream(operator(stream_content("a"))) == ["a"]

    play("asyncio", program)


def test_merge_can_stop_when_the_first_stream_ends():
    async def program():
        source = Source([1.0, "item"] * 100)
        merged = merge(stream_content("ab", 1.5), source.stream(), stop_on_first=True)
        assert [item for item in await gather_stream(merged) if isinstance(item, str)] == ["a", "b"]
        assert source.closed == 1
        assert len(source.pulled) < 5

    play("asyncio", program)


def test_concat_runs_all_from_the_start_and_keeps_the_order():
    async def program():
        start = asyncio.get_running_loop().time()
        got = await gather_stream(concat(ticks("a", 3), ticks("b", 2)))
        assert got == ["a0", "a1", "a2", "b0", "b1", "b2"]
        assert asyncio.get_running_loop().time() - start == 12  # 3 * 3 + its trailing delay

    play("asyncio", program)


@pytest.mark.parametrize("operator", [merge, concat])
def test_the_first_error_is_raised_as_it_is_and_further_errors_are_notes(operator):
    first, second = Boom("first"), Boom("second")

    class Fails:
        def __aiter__(self):
            return self

        async def __anext__(self):
            try:
                await asyncio.sleep(1_000)
            finally:
                raise second

    async def program():
        stream = operator(failing(2, first, delay=1), Fails())
        got = []
        with pytest.raises(Boom) as raised:  # noqa: PT012
            async for item in stream:
                got.append(item)
        assert raised.value is first
        assert got == [0, 1]

    play("asyncio", program)
    if operator is merge:
        assert first.__notes__ == ["Beside it, another source failed: Boom('second')"]


def test_zip_pairs_until_the_shortest_ends_and_closes_all():
    async def program():
        long = Source(["item"] * 5)
        got = await gather_stream(streams.zip(stream_content("ab"), long.stream()))
        assert got == [("a", (0, 0)), ("b", (0, 1))]
        assert long.closed == 1
        assert await gather_stream(streams.zip()) == []

    play("asyncio", program)


def test_every_branch_of_a_split_gets_all_items_or_the_error():
    boom = Boom()

    async def program():
        branches = split(failing(100, boom), 3, maxsize=2)
        got = await asyncio.gather(*map(read_to_error, branches))
        assert got == [(list(range(100)), boom)] * 3

    async def read_to_error(stream):
        items = []
        try:
            async for item in stream:
                items.append(item)
        except Boom as error:
            return items, error

    play("asyncio", program)


def test_copies_are_deep_and_each_branch_has_its_own():
    async def program():
        original = {"parts": [1]}
        branches = split(stream_content([original]), 2, with_copy=True)
        (one,), (two,) = await asyncio.gather(*map(gather_stream, branches))
        assert one == two == original
        one["parts"].append(2)
        assert two == original == {"parts": [1]}

    play("asyncio", program)


def test_a_branch_that_is_not_read_makes_the_others_wait_unless_it_may_lose_items():
    async def program():
        fast, idle = split(stream_content(range(10)), 2, maxsize=4)
        assert [await anext(fast) for _ in range(4)] == [0, 1, 2, 3]
        fifth = asyncio.ensure_future(anext(fast))
        await asyncio.sleep(60)
        assert not fifth.done()
        await idle.aclose()
        assert await fifth == 4
        await fast.aclose()

        fast, idle = split(
            stream_content(range(100)), 2, maxsize=4, overflow=streams.Overflow.DROP_OLDEST
        )
        await asyncio.gather(gather_stream(fast), asyncio.sleep(1))
        assert await gather_stream(idle) == [96, 97, 98, 99]
        assert idle.dropped == 96

    play("asyncio", program)


@pytest.mark.parametrize("n", [0, -1])
def test_a_stream_cannot_be_split_into_less_than_one(n):
    with pytest.raises(ValueError, match=f"n must be at least 1, not {n}"):
        split(stream_content("a"), n)


@pytest.mark.parametrize("operator", [merge, concat, split, streams.buffer])
def test_a_bound_below_one_is_refused(operator):
    with pytest.raises(ValueError, match="at least 1"):
        operator(stream_content("a"), maxsize=0)


def test_a_stream_that_another_task_reads_cannot_be_closed():
    async def program():
        stream = merge(streams.endless_stream(), stream_content("a"))
        reader = asyncio.create_task(gather_stream(stream))
        await asyncio.sleep(1)
        with pytest.raises(RuntimeError, match="cancel that task instead"):
            await stream.aclose()
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader

    play("asyncio", program)


@pytest.mark.parametrize("bad", [5, None, ["a"], "abc"])
@pytest.mark.parametrize("operator", [merge, concat, split, streams.zip, streams.buffer, same])
def test_an_argument_that_is_not_a_stream_is_refused_at_once(operator, bad):
    with pytest.raises(TypeError, match=r"is an async iterable, which \w+ is not"):
        operator(bad)


@pytest.mark.parametrize("operator", [merge, concat])
def test_the_same_stream_cannot_be_given_twice(operator):
    stream = stream_content("abc")
    with pytest.raises(ValueError, match="given twice; split"):
        operator(stream, stream)
