"""Cases that break other libraries. Each docstring names the library and what it does."""

import asyncio
import contextvars
import gc

import pytest

from dual_mode_streaming.streams import (
    Processor,
    buffer,
    concat,
    dequeue,
    enqueue,
    gather_stream,
    idle_timeout,
    merge,
    split,
    stream_content,
    take,
)

from .scripts import LOOPS, Boom, Source, play

each_loop = pytest.mark.parametrize("loop", LOOPS)
which = contextvars.ContextVar("which", default="unset")


async def failing(boom):
    yield 1
    raise boom


@each_loop
@pytest.mark.parametrize("operator", [merge, concat])
def test_none_is_an_item_and_not_the_end(operator, loop):
    """genai-processors: a None among the items ends a merge or concat."""

    async def program():
        got = await gather_stream(operator(stream_content([None, 1, None]), stream_content([2])))
        assert sorted(map(str, got)) == ["1", "2", "None", "None"]

    play(loop, program)


@each_loop
@pytest.mark.parametrize("operator", [merge, concat])
def test_an_error_is_raised_as_it_is(operator, loop):
    """genai-processors: concat hangs, merge raises an ExceptionGroup."""
    boom = Boom()

    async def program():
        with pytest.raises(Boom) as raised:
            await gather_stream(operator(failing(boom), stream_content([2])))
        assert raised.value is boom

    play(loop, program)


@each_loop
def test_a_split_raises_the_error_in_every_branch_and_closes_its_source(loop):
    """genai-processors: the branches hang. Other tees: one branch gets it, one ends cleanly."""
    boom = Boom()

    async def program():
        ends = await asyncio.gather(
            *map(gather_stream, split(failing(boom))), return_exceptions=True
        )
        assert ends == [boom, boom]

        source = Source(["item"] * 10)
        one, two = split(source.stream(), maxsize=2)
        await anext(one)
        await one.aclose()
        assert source.closed == 0
        await two.aclose()
        assert source.closed == 1

    play(loop, program)


@each_loop
def test_an_early_exit_leaves_no_task_behind(loop):
    """genai-processors: after an early exit the tasks of a concat run forever."""
    given = [Source(["item", "suspend"] * 100, number=n) for n in range(3)]

    async def program():
        async with concat([source.stream() for source in given]) as items:
            async for _ in items:
                break
        assert asyncio.all_tasks() == {asyncio.current_task()}

    play(loop, program)
    assert [source.closed for source in given] == [1, 1, 1]


@each_loop
def test_a_plain_break_does_not_cancel_the_reader(loop):
    """A task group of anyio or asyncio over a yield cancels its consumer, much later."""

    async def program():
        async for _ in merge(Source(["item", "suspend"] * 9).stream(), stream_content("ab")):
            break
        gc.collect()
        for _ in range(20):
            await asyncio.sleep(0)
        assert asyncio.current_task().cancelling() == 0

    play(loop, program)


@each_loop
def test_a_source_is_closed_in_the_task_that_read_it_even_if_the_stream_is_dropped(loop):
    """PEP 525: the finalizer closes a generator in another task."""
    source = Source(["item", "suspend"] * 100)

    async def program():
        async for _ in merge(source.stream(), stream_content("ab")):
            break
        gc.collect()
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)

    play(loop, program)
    assert source.read_by == {source.closed_by}


@each_loop
def test_an_error_goes_through_a_queue_and_a_cancellation_never_waits_there(loop):
    """genai-processors: the error is a clean end; the cancelled `enqueue` hangs on a full queue."""
    boom = Boom()

    async def program():
        queue = asyncio.Queue(1)
        writer = asyncio.create_task(enqueue(failing(boom), queue))
        with pytest.raises(Boom):
            await gather_stream(dequeue(queue))
        await writer

        writer = asyncio.create_task(enqueue(stream_content(range(9)), queue))
        while not queue.full():
            await asyncio.sleep(0)
        writer.cancel()
        await asyncio.wait([writer])
        assert writer.cancelled()

    play(loop, program)


@each_loop
def test_a_source_that_is_always_ready_does_not_starve_the_others(loop):
    """aiostream: one of three such sources yields all 3,000 items."""

    async def always(name):
        while True:
            yield name

    async def program():
        got = await gather_stream(take(merge(*map(always, "abc")), 3000))
        assert min(map(got.count, "abc")) > 900

    play(loop, program)


@each_loop
def test_sources_run_in_the_context_of_the_reader(loop):
    """aiostream and Streamlit's converter lose the context."""

    async def source():
        yield which.get()

    async def program():
        which.set("mine")
        assert await gather_stream(merge(source(), source())) == ["mine", "mine"]
        assert await gather_stream(split(source(), 1)[0]) == ["mine"]
        assert await gather_stream(buffer(source())) == ["mine"]

    play(loop, program)


@each_loop
def test_a_cancellation_that_races_an_item_is_not_swallowed(loop):
    """`asyncio.wait_for` on Python 3.11 returns the item and loses the cancellation."""

    async def program():
        release = asyncio.Event()

        async def source():
            await release.wait()
            yield 1
            await asyncio.Event().wait()

        async def read():
            async with idle_timeout(source(), 60) as items:
                async for _ in items:
                    pass

        reader = asyncio.create_task(read())
        for _ in range(5):
            await asyncio.sleep(0)
        release.set()
        await asyncio.sleep(0)  # the pump has the item, the reader is about to be woken
        reader.cancel()
        await asyncio.wait([reader])
        assert reader.cancelled()

    play(loop, program)


@each_loop
def test_a_stream_that_was_never_started_closes_its_source(loop):
    """A plain generator does not: its `finally` is never reached."""

    class Feed:
        closed = 0

        def __aiter__(self):
            return self

        async def __anext__(self):
            raise StopAsyncIteration

        async def aclose(self):
            self.closed += 1

    async def nothing(stream):
        async for item in stream:
            yield item

    async def program():
        for make in (merge, concat, buffer, Processor(nothing), lambda feed: split(feed, 1)[0]):
            feed = Feed()
            await make(feed).aclose()
            assert feed.closed == 1

    play(loop, program)


def test_a_timeout_that_a_source_holds_over_its_yields_does_not_truncate():
    """It cancels the task that runs it; in a merge that is not the slow consumer's."""

    async def impatient():
        async with asyncio.timeout(1):
            for n in range(100):
                yield n

    async def program():
        got = []
        with pytest.raises(TimeoutError):  # noqa: PT012
            async for item in merge(impatient(), maxsize=1):
                got.append(item)
                await asyncio.sleep(0.4)
        assert got == list(range(len(got)))

    play("asyncio", program)
