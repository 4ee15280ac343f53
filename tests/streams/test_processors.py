"""Processors: chained, side by side, and for each item."""

import asyncio
import functools
import operator

import pytest

from dual_mode_streaming.streams import (
    EachProcessor,
    Processor,
    aenumerate,
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


def work(name, seconds=0.0, concurrency=16, many=1, log=None):
    """A function of one item that adds its name to it, as a coroutine if it has one result."""

    async def one(item):
        if log is not None:
            log.append(item)
        await asyncio.sleep(seconds)
        return item + name

    async def several(item):
        for number in range(many):
            yield await one(item) + str(number)

    return each(one if many == 1 else several, concurrency=concurrency)


@pytest.mark.parametrize("generators", [False, True])
def test_a_hundred_stages_wait_for_different_items_at_the_same_time(generators):
    def stage(number):
        async def wait(item):
            if item == number:
                await asyncio.sleep(0.1)
            return item

        async def generate(item):
            yield await wait(item)

        return each(generate if generators else wait)

    async def program():
        chain = functools.reduce(operator.add, map(stage, range(100)))
        assert isinstance(chain, EachProcessor)
        assert await gather_stream(chain(stream_content(range(100)))) == [*range(100)]
        assert asyncio.get_running_loop().time() < 1

    play("asyncio", program)


MADE = {
    "one": lambda: work("a", 1),
    "many": lambda: work("b", 1, many=3),
    "few at a time": lambda: work("c", 2, concurrency=2, many=2),
    "in order": lambda: work("d", 1, concurrency=1),
    "none": lambda: each(_none),
    "both": lambda: work("e", 1) // work("f", 2, many=2),
    "both in order": lambda: work("g", 1, concurrency=1) // work("h", concurrency=1),
    "whole": lambda: shout,
}


async def _none(item):
    return
    yield


@pytest.mark.parametrize("first", MADE)
@pytest.mark.parametrize("second", MADE)
@pytest.mark.parametrize("third", ["many", "in order", "both", "whole"])
def test_chains_are_associative_and_give_what_their_stages_give(first, second, third):
    a, b, c = MADE[first](), MADE[second](), MADE[third]()

    async def staged(items):
        async for item in c(b(a(items))):
            yield item

    expected = result_of(Processor(staged), ["1", "2", "3"])
    assert result_of((a + b) + c, ["1", "2", "3"]) == expected
    assert result_of(a + (b + c), ["1", "2", "3"]) == expected
    assert isinstance(a + b, EachProcessor) == ("whole" not in (first, second))


def test_processors_of_items_are_fused_in_any_chain():
    log = []

    @each
    async def slow_for_one(item):
        log.append(("first", item))
        await asyncio.sleep(5 if item == "a" else 0)
        return item

    @each
    async def note(item):
        log.append(("second", item))
        return item

    for chain in (twice + slow_for_one + note, twice + (slow_for_one + note + twice)):
        del log[:]
        result_of(chain, "ab")
        assert log.index(("second", "b")) < log.index(("second", "a"))


def test_side_by_side_runs_both_on_an_item_at_the_same_time_and_stays_one_of_items():
    async def program():
        both = work("x", 3) // work("y", 2, many=2) // work("z", 1)
        assert isinstance(both, EachProcessor)
        got = await gather_stream((both + work("", 1))(stream_content("ab")))
        assert got == ["ax", "ay0", "ay1", "az", "bx", "by0", "by1", "bz"]
        assert asyncio.get_running_loop().time() < 6

    play("asyncio", program)


@pytest.mark.parametrize("shape", ["chain", "fan out", "both"])
def test_no_more_calls_of_a_function_run_than_it_says(shape):
    running = most = 0

    async def count(item):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(1)
        running -= 1
        yield item

    limited = each(count, concurrency=2)
    processor = {
        "chain": work("a") + limited + work("b"),
        "fan out": work("a", many=20) + limited,
        "both": work("a") // limited,
    }[shape]
    assert len(result_of(processor, "abcd" * 5)) in (20, 40, 400)
    assert most == 2


def test_results_that_nobody_reads_do_not_keep_earlier_ones_from_running():
    """The later items fill their queues while the first still waits; then it needs a call, too."""

    @each
    async def slow_for_the_first(item):
        await asyncio.sleep(10 if item == "a" else 0)
        return item

    got = result_of(slow_for_the_first + work("", concurrency=2, many=200), "abcdef")
    assert len(got) == 6 * 200
    assert got == sorted(got, key=lambda item: item[0])


def test_a_function_with_concurrency_one_gets_the_items_in_order_in_a_chain():
    log = []

    @each
    async def shuffle(item):
        await asyncio.sleep(10 - int(item))
        return item

    assert result_of(shuffle + work("", concurrency=1, log=log), "0123456") == [*"0123456"]
    assert log == [*"0123456"]


@pytest.mark.parametrize("end", ["error", "early exit", "cancellation"])
@pytest.mark.parametrize("both", [False, True])
def test_every_end_of_a_fused_chain_closes_its_calls_and_its_source(end, both):
    source = Source(["item"] * 30)
    opened = closed = 0

    async def call(item):
        nonlocal opened, closed
        opened += 1
        try:
            for number in range(3):
                await asyncio.sleep(1)
                if end == "error" and opened > 40:
                    raise Boom
                yield item, number
        finally:
            closed += 1

    async def program():
        chain = each(call, concurrency=4) + each(call, concurrency=3)
        stream = (chain // each(call) if both else chain)(source.stream())
        reader = asyncio.create_task(gather_stream(stream))
        if end == "early exit":
            reader.cancel()
            async with stream:
                await anext(stream)
        elif end == "cancellation":
            await asyncio.sleep(7)
            reader.cancel()
        await asyncio.wait([reader])
        assert end != "error" or isinstance(reader.exception(), Boom)

    play("asyncio", program)
    assert opened == closed > 0
    assert source.closed == 1
    assert source.read_by == {source.closed_by}


def test_a_stream_is_numbered():
    assert result_of(aenumerate) == [(0, "a"), (1, "b"), (2, "c")]
    assert result_of(lambda stream: aenumerate(stream, 7)) == [(7, "a"), (8, "b"), (9, "c")]
