"""The thread that a plain iterator has to itself: what it may keep there, and how many exist."""

import asyncio
import contextlib
import decimal
import gc
import logging
import sqlite3
import subprocess
import sys
import threading

import anyio.from_thread
import pytest

from dual_mode_streaming import Problem
from dual_mode_streaming.bridges import _from_sync, from_sync, limit_threads

STEPS = 5


def sqlite():
    """It refuses any other thread than that which opened it, its close too."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("create table numbers (n)")
        with connection:
            for n in range(STEPS):
                connection.execute("insert into numbers values (?)", (n,))
        yield from (n for (n,) in connection.execute("select n from numbers"))


def thread_local():
    mine = threading.local()
    mine.number = 0
    for _ in range(STEPS):
        yield mine.number
        mine.number += 1


def lock():
    """An RLock is released by the thread that holds it."""
    lock = threading.RLock()
    with lock:
        yield 0
        with lock:
            yield from range(1, STEPS)


def decimals():
    with decimal.localcontext(prec=3):
        for n in range(STEPS):
            assert decimal.getcontext().prec == 3
            yield n


class Scoped:
    """A registry of one session a thread, as SQLAlchemy's scoped_session."""

    def __init__(self):
        self.registry = threading.local()

    def __call__(self):
        if not hasattr(self.registry, "session"):
            self.registry.session = sqlite3.connect(":memory:")
        return self.registry.session

    def remove(self):
        self.registry.session.close()
        del self.registry.session


def scoped_session(session=Scoped()):
    try:
        for n in range(STEPS):
            yield session().execute("select ?", (n,)).fetchone()[0]
    finally:
        session.remove()


def event_loop_from_the_thread():
    """As code for Starlette's own threads does."""
    for n in range(STEPS):
        yield anyio.from_thread.run(asyncio.sleep, 0, n)


KINDS = [sqlite, thread_local, lock, decimals, scoped_session, event_loop_from_the_thread]
each_kind = pytest.mark.parametrize("kind", KINDS)
each_ahead = pytest.mark.parametrize("ahead", [0, 2, 64])


@pytest.fixture
def few_threads():
    yield lambda threads, wait: limit_threads(threads, wait=wait)
    limit_threads()


async def until_no_thread_is_left():
    def left():
        return [thread for thread in threading.enumerate() if thread.name.startswith("from_sync")]

    for thread in left():
        await asyncio.to_thread(thread.join, 10)
    assert not left()


@each_kind
@each_ahead
async def test_what_belongs_to_a_thread_works_from_first_to_last(kind, ahead):
    assert [item async for item in from_sync(kind(), ahead=ahead)] == list(range(STEPS))
    await until_no_thread_is_left()


@each_kind
@each_ahead
async def test_and_in_a_close_amid(kind, ahead, caplog):
    async with from_sync(kind(), ahead=ahead) as items:
        assert await anext(items) == 0
    await until_no_thread_is_left()
    assert not caplog.records


@each_kind
async def test_many_at_once_do_not_share_a_thread(kind):
    async def read():
        return [item async for item in from_sync(kind())]

    assert await asyncio.gather(*(read() for _ in range(20))) == [list(range(STEPS))] * 20


@pytest.mark.parametrize("end", ["normal", "error", "aclose", "cancellation", "forgotten"])
@each_ahead
async def test_every_end_is_in_the_same_thread(end, ahead):
    threads, closed, entered = set(), threading.Event(), threading.Event()

    def source():
        try:
            for n in range(3):
                threads.add(threading.get_ident())
                yield n
            if end == "error":
                raise KeyError(end)
            while end != "normal":
                entered.set()
                yield n
        finally:
            threads.add(threading.get_ident())
            closed.set()

    async def read():
        items = from_sync(source(), ahead=ahead)
        async for _ in items:
            if entered.is_set():
                if end == "aclose":
                    return await items.aclose()
                if end == "forgotten":
                    break
        return None

    reader = asyncio.create_task(read())
    if end == "cancellation":
        await asyncio.to_thread(entered.wait, 60)
        reader.cancel()
    await asyncio.wait([reader])
    gc.collect()
    assert await asyncio.to_thread(closed.wait, 60)
    assert len(threads) == 1
    assert threads != {threading.get_ident()}
    assert reader.cancelled() or isinstance(
        reader.exception(), KeyError if end == "error" else object
    )
    await until_no_thread_is_left()


async def test_an_iterator_with_a_close_of_its_own_is_closed_in_the_same_thread_at_its_end():
    class Cursor:
        def __init__(self):
            self.left, self.threads = [1, 2], []

        def __len__(self):
            return 0  # an iterator may be false

        def __iter__(self):
            return self

        def __next__(self):
            self.threads.append(threading.get_ident())
            if not self.left:
                raise StopIteration
            return self.left.pop()

        def close(self):
            self.threads.append("closed")
            self.threads.append(threading.get_ident())

    cursor = Cursor()
    assert [item async for item in from_sync(cursor)] == [2, 1]
    assert cursor.threads[3] == "closed"
    assert len(set(cursor.threads)) == 2


async def test_items_that_are_ready_are_not_held_back_by_one_that_blocks():
    release = threading.Event()

    def source():
        yield 1
        yield 2
        assert release.wait(60)
        yield 3

    items = from_sync(source(), ahead=64)
    assert [await anext(items), await anext(items)] == [1, 2]
    release.set()
    assert [item async for item in items] == [3]


@pytest.mark.parametrize(("ahead", "most"), [(0, 1), (5, 6)])
async def test_it_is_not_further_ahead_than_it_may(ahead, most):
    pulled = []

    def source():
        for n in range(100):
            pulled.append(n)
            yield n

    async with from_sync(source(), ahead=ahead) as items:
        await anext(items)
        assert len(pulled) <= most


async def test_others_wait_for_a_thread_and_are_then_served(few_threads, caplog):
    few_threads(2, 10)
    most = 0

    def source():
        nonlocal most
        most = max(most, sum(t.name.startswith("from_sync") for t in threading.enumerate()))
        yield from range(3)

    async def read():
        return [item async for item in from_sync(source())]

    assert await asyncio.gather(*(read() for _ in range(50))) == [[0, 1, 2]] * 50
    assert most <= 2 + 1  # one may be on its way out
    assert sum("all 2 threads" in record.message for record in caplog.records) == 1


async def test_a_generator_that_needs_another_does_not_wait_for_ever(few_threads):
    few_threads(2, 0.05)
    both = threading.Barrier(2)

    async def inner():
        return [item async for item in from_sync([1])]

    def outer():
        both.wait(60)
        yield anyio.from_thread.run(inner)

    async def read():
        return [item async for item in from_sync(outer())]

    ends = await asyncio.gather(read(), read(), return_exceptions=True)
    assert {getattr(end, "status_code", end) for end in ends if end != [[1]]} == {503}
    refused = next(end for end in ends if isinstance(end, Problem))
    assert "no thread is free for a plain generator: all 2 threads are in use" in refused.detail
    assert refused.headers == {"retry-after": "1"}
    assert await inner() == [1]


@pytest.mark.parametrize("times", [1, 2])
async def test_one_that_is_cancelled_while_it_waits_leaves_the_queue(few_threads, times):
    few_threads(1, 10)
    first = from_sync([1, 2])
    await anext(first)
    waiting = [asyncio.ensure_future(anext(from_sync([3]))) for _ in range(times + 1)]
    await asyncio.sleep(0)
    for task in waiting[:-1]:
        task.cancel()
    await asyncio.sleep(0)
    await first.aclose()
    assert await waiting[-1] == 3
    await until_no_thread_is_left()


async def test_no_thread_that_can_be_started_is_a_refusal(monkeypatch, caplog):
    def start(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(Problem, match="503") as refused:
            await anext(from_sync([1]))
    assert "starts no further thread" in refused.value.detail
    assert "can't start new thread" in caplog.text
    assert await anext(from_sync([1])) == 1


async def test_a_next_that_does_not_return_is_accounted_for_and_logged(caplog, monkeypatch):
    monkeypatch.setattr(_from_sync, "_ABANDONED", 0)
    entered, release, closed = threading.Event(), threading.Event(), threading.Event()

    def source():
        try:
            entered.set()
            release.wait(60)
            yield 1
        finally:
            closed.set()

    items = from_sync(source())
    task = asyncio.ensure_future(anext(items))
    await asyncio.to_thread(entered.wait, 60)
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.wait([task])
    assert task.cancelled()
    while not caplog.records:
        await asyncio.sleep(0)
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "which closes it afterwards; 1 of 1000 threads are in use" in record.getMessage()
    assert not closed.is_set()
    release.set()
    assert await asyncio.to_thread(closed.wait, 60)
    await until_no_thread_is_left()


async def test_an_error_of_the_close_is_raised_and_one_after_an_abandonment_is_logged(caplog):
    def source():
        try:
            yield 1
        finally:
            raise KeyError("closing")

    items = from_sync(source())
    await anext(items)
    with pytest.raises(KeyError):
        await items.aclose()
    items = from_sync(source())
    await anext(items)
    del items
    await until_no_thread_is_left()
    assert "failed when it was closed" in caplog.text


def test_a_loop_that_ends_first_leaves_no_thread():
    closed = threading.Event()

    def source():
        try:
            yield 1
            yield 2
        finally:
            closed.set()

    async def program():
        items = from_sync(source())
        await anext(items)
        return items

    items = asyncio.run(program())
    del items
    assert closed.wait(60)


def test_the_exit_of_the_interpreter_waits_for_closes_and_not_for_a_next_that_blocks():
    program = """
import asyncio, threading, time
from dual_mode_streaming.bridges import from_sync
blocked = threading.Event()
def blocks():
    blocked.set()
    threading.Event().wait()
    yield
def closes():
    try:
        yield 1
    finally:
        time.sleep(0.05)
        print("closed", flush=True)
async def main():
    asyncio.ensure_future(anext(from_sync(blocks())))
    await asyncio.to_thread(blocked.wait)
    items = from_sync(closes())
    await anext(items)
    closing = asyncio.ensure_future(items.aclose())
    await asyncio.sleep(0)
    raise SystemExit
loop = asyncio.new_event_loop()
try:
    loop.run_until_complete(main())
except SystemExit:
    pass
"""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert ended.stdout == "closed\n", ended.stderr


@pytest.mark.parametrize(("threads", "wait"), [(0, 1), (1, -1)])
def test_a_limit_that_is_none_is_refused(threads, wait):
    with pytest.raises(ValueError, match="threads must be at least 1 and wait at least 0, not"):
        limit_threads(threads, wait=wait)
