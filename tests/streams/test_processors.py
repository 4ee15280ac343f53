"""Processors: chained, side by side, and for each item."""

import asyncio

import pytest

from dual_mode_streaming.streams import (
    EachProcessor,
    Processor,
    each,
    gather_stream,
    stream_content,
)

from .scripts import Boom, Source, play


@Processor
async def shout(words):
    """Louder."""
    async for word in words:
        yield word.upper()


async def twice(words):
    async for word in words:
        yield word
        yield word


async def first_two(words):
    number = 0
    async for word in words:
        yield word
        number += 1
        if number == 2:
            return


def result_of(processor, items="abc"):
    async def program():
        return await gather_stream(processor(stream_content(items)))

    return play("asyncio", program)


def test_a_processor_is_a_function_from_stream_to_stream():
    assert result_of(shout) == ["A", "B", "C"]
    assert (shout.__name__, shout.__doc__) == ("shout", "Louder.")


def test_a_chain_takes_plain_functions_on_either_side():
    assert result_of(shout + twice) == ["A", "A", "B", "B", "C", "C"]
    assert result_of(twice + shout) == ["A", "A", "B", "B", "C", "C"]
    assert result_of(shout + twice + twice)[:4] == ["A"] * 4
    assert result_of(twice + (shout + first_two)) == ["A", "A"]


def test_side_by_side_each_gets_all_items():
    assert sorted(result_of(shout // twice)) == sorted(["A", "B", "C", *"aabbcc"])
    assert sorted(result_of(twice // shout)) == sorted(["A", "B", "C", *"aabbcc"])
    assert len(result_of(shout // twice // shout)) == 12


def test_a_source_is_closed_by_its_processor_even_if_the_function_returns_early():
    source = Source(["item"] * 10)

    async def program():
        two = await gather_stream((Processor(first_two) + Processor(twice))(source.stream()))
        assert len(two) == 4

    play("asyncio", program)
    assert source.closed == 1
    assert source.read_by == {source.closed_by}


def test_one_side_that_returns_early_does_not_stop_the_other():
    assert sorted(result_of(Processor(first_two) // shout, "abcdef")) == ["A", *"BCDEFab"]


def test_an_error_of_a_stage_is_raised_as_it_is_and_the_source_closed():
    boom = Boom()
    source = Source(["item"] * 10)

    @Processor
    async def fails(stream):
        async for _ in stream:
            raise boom
            yield

    async def program():
        with pytest.raises(Boom) as raised:
            await gather_stream((fails + twice)(source.stream()))
        assert raised.value is boom

    play("asyncio", program)
    assert source.closed == 1


def test_each_runs_items_concurrently_up_to_its_bound_and_keeps_the_order():
    running, most = 0, 0

    async def work(item):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(10 - item)
        running -= 1
        return item * item

    async def program():
        got = await gather_stream(each(work, concurrency=4)(stream_content(range(10))))
        assert got == [n * n for n in range(10)]
        assert asyncio.get_running_loop().time() < 10 + 9 + 8 + 7

    play("asyncio", program)
    assert most == 4


def test_each_may_yield_any_number_of_results():
    @each(concurrency=3)
    async def repeat(number):
        for _ in range(number):
            await asyncio.sleep(1)
            yield number

    assert isinstance(repeat, EachProcessor)
    assert result_of(repeat, [2, 0, 3, 1]) == [2, 2, 3, 3, 3, 1]


def test_each_with_concurrency_one_pulls_nothing_ahead():
    source = Source(["item"] * 10)

    @each(concurrency=1)
    async def same(item):
        yield item

    async def program():
        async with same(source.stream()) as stream:
            await anext(stream)
            await asyncio.sleep(1)
            assert len(source.pulled) == 1

    play("asyncio", program)


def test_two_of_each_side_by_side_keep_the_order_of_the_items():
    @each
    async def lower(item):
        await asyncio.sleep(2)
        yield item.lower()

    @each
    async def upper(item):
        yield item.upper()

    assert result_of(lower // upper, "aB") == ["a", "A", "b", "B"]
    assert result_of(lower // upper + twice, "a") == ["a", "a", "A", "A"]
    assert sorted(result_of(lower // shout, "aB")) == ["A", "B", "a", "b"]


def test_an_error_of_an_item_comes_in_its_place_and_cancels_the_others():
    cancelled = []

    async def work(item):
        try:
            await asyncio.sleep(1 if item < 2 else 100)
        except asyncio.CancelledError:
            cancelled.append(item)
            raise
        if item == 1:
            raise Boom(item)
        return item

    async def program():
        got = []
        with pytest.raises(Boom):  # noqa: PT012
            async for item in each(work, concurrency=4)(stream_content(range(10))):
                got.append(item)
        assert got == [0]

    play("asyncio", program)
    assert sorted(cancelled)[:2] == [2, 3]


def test_a_function_that_is_not_async_is_refused():
    with pytest.raises(TypeError, match=r"each\(\) takes an async function .* returned a str: 'A'"):
        result_of(each(str.upper))


def test_a_concurrency_below_one_is_refused():
    with pytest.raises(ValueError, match="concurrency must be at least 1, not 0"):
        each(lambda item: item, concurrency=0)


def test_a_chain_that_is_cancelled_closes_everything():
    source = Source(["item", 100.0])

    @Processor
    async def same(stream):
        async for item in stream:
            yield item

    async def program():
        reader = asyncio.create_task(gather_stream((twice // same + same)(source.stream())))
        await asyncio.sleep(1)
        reader.cancel()
        await asyncio.wait([reader])
        assert reader.cancelled()

    play("asyncio", program)
    assert source.closed == 1
