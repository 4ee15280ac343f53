"""`iterate_sync` and `LoopThread`.

Law 14: a bridge that stops early joins its thread, and closes the source in its task and context.
"""

import asyncio
import contextvars
import gc
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dual_mode_streaming.bridges import LoopThread, collect_sync, iterate_sync, shared_loop
from dual_mode_streaming.streams import merge, stream_content

from ..streams.scripts import Boom, Source

which = contextvars.ContextVar("which", default="unset")


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    left = [thread for thread in threading.enumerate() if thread not in before]
    assert [thread.name for thread in left if thread.name != "shared-loop-thread"] == []


def test_all_items_even_none():
    items = [1, None, "two", StopIteration()]
    with iterate_sync(stream_content(items)) as stream:
        assert list(stream) == items
    assert collect_sync(stream_content(items)) == items
    assert [item for item in iterate_sync(stream_content("abc"))] == ["a", "b", "c"]  # noqa: C416


@settings(max_examples=150, deadline=None)
@given(
    script=st.lists(st.sampled_from(["item", "item", "none", "suspend", "raise"]), max_size=20),
    generator=st.booleans(),
    leave_after=st.none() | st.integers(0, 10),
    maxsize=st.sampled_from([1, 2, 256]),
    shared=st.booleans(),
)
def test_the_laws_hold_across_threads(script, generator, leave_after, maxsize, shared):
    source = Source(script, generator)
    delivered = []

    def on_pull():
        assert len(source.pulled) - len(delivered) <= maxsize + 1  # one is not in the list yet

    source.on_pull = on_pull
    error = None
    threads = threading.active_count() + (shared and "shared" not in _names())
    with iterate_sync(source.stream(), maxsize, loop=shared_loop() if shared else None) as items:
        try:
            if leave_after != 0:
                for item in items:
                    delivered.append(item)
                    if len(delivered) == leave_after:
                        break
        except Boom as raised:
            error = raised
    assert threading.active_count() <= threads
    assert delivered == source.items[: len(delivered)]
    if leave_after is None or len(source.items) < leave_after:
        assert delivered == source.items
        assert error is source.error
    assert error is None or error is source.error
    if source.started:
        assert source.closed == 1
        assert source.read_by == {source.closed_by}


def _names():
    return " ".join(thread.name for thread in threading.enumerate())


def test_the_loop_runs_while_the_reader_is_busy():
    """Heartbeats and connections need that; a loop that runs only on demand does not do it."""
    beats = []

    async def source():
        async def beat():
            while True:
                beats.append(time.monotonic())
                await asyncio.sleep(0.005)

        task = asyncio.create_task(beat())
        try:
            yield 1
            await asyncio.sleep(3600)
        finally:
            task.cancel()

    with iterate_sync(source()) as items:
        next(items)
        seen = len(beats)
        deadline = time.monotonic() + 60
        while len(beats) < seen + 3:  # this thread is busy
            assert time.monotonic() < deadline


def test_the_stream_runs_in_one_copy_of_the_callers_context():
    async def source():
        try:
            yield which.get()
            which.set("the source's")
            yield which.get()
        finally:
            seen.append(which.get())

    seen = []
    which.set("the caller's")
    with iterate_sync(source()) as items:
        assert [next(items), next(items)] == ["the caller's", "the source's"]
    assert seen == ["the source's"]
    assert which.get() == "the caller's"


def test_inside_a_running_loop():
    """As in a notebook, where `asyncio.run` raises an error."""

    async def cell():
        return collect_sync(merge(stream_content("ab"), stream_content("ab")))

    assert sorted(asyncio.run(cell())) == ["a", "a", "b", "b"]


def test_an_endless_source_stops_with_its_reader():
    closed = threading.Event()

    async def endless():
        try:
            while True:
                await asyncio.sleep(0)
                yield 1
        finally:
            await asyncio.sleep(0)
            closed.set()

    for _ in iterate_sync(endless(), 4):
        break
    gc.collect()
    assert closed.is_set()


def test_a_source_that_waits_is_cancelled_and_closed():
    source = Source(["item", 3600.0, "item"])
    with iterate_sync(source.stream()) as items:
        next(items)
    assert source.closed == 1  # at once: the timeout of all tests comes before an hour has passed


def test_an_error_of_the_reader_is_raised_and_the_source_closed():
    source = Source(["item"] * 1000)
    with pytest.raises(KeyError), iterate_sync(source.stream(), 2) as items:  # noqa: PT012
        for _ in items:
            raise KeyError("mine")
    assert source.closed == 1


def test_a_bridge_that_was_never_read_closes_its_source_and_starts_no_thread_for_a_generator():
    source = Source(["item"], generator=False)
    with iterate_sync(source.stream()):
        pass
    assert source.closed == 1
    iterate_sync(stream_content("abc"))
    with pytest.raises(ValueError, match="at least 1, not 0"):
        iterate_sync(stream_content("abc"), 0)


def test_after_the_end_and_after_close_it_stays_at_its_end():
    items = iterate_sync(stream_content("a"))
    assert list(items) == ["a"]
    assert list(items) == []
    items.close()
    items.close()
    assert next(items, None) is None


def test_an_error_of_the_cleanup_is_logged_after_an_early_exit(caplog):
    async def source():
        try:
            while True:
                yield 1
        finally:
            raise Boom("in the cleanup")

    with iterate_sync(source(), 2) as items:
        next(items)
    assert "a source failed while it was closed" in caplog.text


def test_a_client_that_is_cached_lives_in_the_shared_loop():
    """An object that is bound to the loop works in every stream that runs there."""
    loops = set()

    async def source():
        loops.add(asyncio.get_running_loop())
        yield threading.current_thread().name

    for _ in range(3):
        assert collect_sync(source(), loop=shared_loop()) == ["shared-loop-thread"]
    assert len(loops) == 1


def test_many_threads_share_a_loop():
    with LoopThread("mine") as loop:
        results = {}

        def read(number):
            results[number] = collect_sync(stream_content(range(500)), loop=loop)

        threads = [threading.Thread(target=read, args=(n,)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == {n: list(range(500)) for n in range(20)}


def test_a_loop_thread_runs_coroutines_and_refuses_to_wait_for_itself():
    async def answer():
        return 42

    async def in_its_own_thread():
        return loop.run(answer())

    with LoopThread() as loop:
        assert loop.run(answer()) == 42
        with pytest.raises(RuntimeError, match="use await"):
            loop.run(in_its_own_thread())
    assert loop.run(answer()) == 42  # it starts again
    loop.close()


def test_closing_a_loop_thread_cancels_what_runs_there():
    ends = []

    async def waits():
        try:
            await asyncio.Event().wait()
        finally:
            ends.append("closed")

    loop = LoopThread()
    started = threading.Event()
    loop.call(lambda: (asyncio.ensure_future(waits()), started.set()))
    started.wait()
    loop.run(asyncio.sleep(0))
    loop.close()
    assert ends == ["closed"]


INTERRUPTED = """
import asyncio, signal
from dual_mode_streaming.bridges import iterate_sync

signal.signal(signal.SIGINT, signal.default_int_handler)  # the test runner may ignore it

async def source():
    try:
        yield 1
        await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(0)
        print("closed", flush=True)

try:
    with iterate_sync(source()) as items:
        for item in items:
            print("item", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_ctrl_c_closes_the_source_and_is_raised():
    program = [sys.executable, "-c", INTERRUPTED]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "item\n"
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=60)
    assert out == "closed\ninterrupted\n"
    assert child.returncode == 0


FORKED = """
import os, sys
from dual_mode_streaming.bridges import collect_sync, shared_loop
from dual_mode_streaming.streams import stream_content

assert collect_sync(stream_content("ab"), loop=shared_loop()) == ["a", "b"]
if (child := os.fork()) == 0:
    assert collect_sync(stream_content("ab"), loop=shared_loop()) == ["a", "b"]
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_starts_a_loop_thread_of_its_own():
    subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED], check=True, timeout=60
    )
