"""`from_sync`: a plain iterable that may block, as an async stream."""

import asyncio
import contextvars
import threading

import pytest

from dual_mode_streaming.bridges import from_sync

which = contextvars.ContextVar("which", default="unset")


async def test_it_runs_in_threads_while_the_loop_runs():
    release = threading.Event()

    def blocks():
        yield threading.current_thread()
        assert release.wait(60)
        yield "released"

    async with from_sync(blocks()) as items:
        assert await anext(items) is not threading.current_thread()
        second = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        assert not second.done()
        release.set()
        assert await second == "released"
        assert [item async for item in items] == []


async def test_a_stop_iteration_that_is_data_and_one_that_is_raised():
    """A StopIteration set on a future hangs forever on Python 3.11."""

    class Odd:
        def __iter__(self):
            return iter([StopIteration("data")])

    (item,) = [item async for item in from_sync(Odd())]
    assert isinstance(item, StopIteration)

    class Raises:
        def __iter__(self):
            raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        await anext(from_sync(Raises()))


async def test_a_cancelled_next_closes_the_generator_when_that_returns():
    entered, release, closed = threading.Event(), threading.Event(), threading.Event()

    def blocks():
        try:
            entered.set()
            assert release.wait(60)
            yield 1
        finally:
            closed.set()

    items = from_sync(blocks())
    task = asyncio.ensure_future(anext(items))
    await asyncio.to_thread(entered.wait, 60)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    assert not closed.is_set()
    release.set()
    await asyncio.wait([task])
    assert task.cancelled()
    assert closed.is_set()
    assert [item async for item in items] == []


async def test_one_context_for_every_step():
    def source():
        which.set("the source's")
        yield which.get()
        yield which.get()

    which.set("the caller's")
    assert [item async for item in from_sync(source())] == ["the source's"] * 2
    assert which.get() == "the caller's"
