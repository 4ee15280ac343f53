"""Leases: a worker whose event loop is busy for long keeps its streams and its readers."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from dual_mode_streaming.recordings import (
    Cursor,
    Operation,
    RecordingRequest,
    Recordings,
    StreamRecord,
)
from dual_mode_streaming.running._tasks import end_tasks
from dual_mode_streaming.stores import (
    Limits,
    MemoryStore,
    NewStream,
    RedisStore,
    SQLiteStore,
    StoreError,
    open_store,
)

LEASE = 1.5
SHARED = pytest.mark.parametrize("kind", ["sqlite", pytest.param("redis", marks=pytest.mark.full)])


def operation(resumes=False):
    return Operation(
        name="test",
        record_of=lambda item: StreamRecord("text", "", item.encode()),
        problem_of=lambda error: {"status": 500, "detail": str(error)},
        resume=(lambda _, head: words(head)) if resumes else None,
    )


async def words(head=0):
    yield f"after {head}"


@pytest.fixture
def opened(kind, tmp_path, request):
    def open_store():
        limits = Limits(lease=LEASE)
        if kind == "sqlite":
            return SQLiteStore(tmp_path / "file", limits)
        server = request.getfixturevalue("redis_server")
        return RedisStore(server.url, limits, prefix=tmp_path.name)

    return open_store


class BusyWorker:
    """A worker in a thread of its own, whose event loop is blocked until it may go on."""

    def __init__(self, store):
        self.store = store
        self.is_busy, self.may_go_on = threading.Event(), threading.Event()
        self.stream = ""
        self.info = None
        self.thread = threading.Thread(target=asyncio.run, args=(self.work(),))

    async def items(self):
        yield "before"
        await asyncio.sleep(0.05)
        self.is_busy.set()
        self.may_go_on.wait(60)
        yield "after"

    async def work(self):
        recordings = Recordings(self.store)
        request = RecordingRequest(operation=operation(), owner="", fingerprint="")
        self.stream = (await recordings.start(request, self.items)).new.stream
        while recordings.producing:
            await asyncio.sleep(0.01)
        self.info = await self.store.info(self.stream)
        await recordings.aclose()


@SHARED
async def test_a_busy_worker_keeps_its_streams(opened):
    worker = BusyWorker(opened())
    other = Recordings(opened())
    other.add(operation(resumes=True))
    other.start_recovery()
    try:
        worker.thread.start()
        await asyncio.to_thread(worker.is_busy.wait, 60)
        until = time.monotonic() + 2 * LEASE
        while time.monotonic() < until:
            assert (await other.store.info(worker.stream)).generations == ((1, 1),)
            await asyncio.sleep(LEASE / 5)
    finally:
        worker.may_go_on.set()
        await asyncio.to_thread(worker.thread.join, 20)
        await other.aclose()
    assert (worker.info.state, worker.info.head) == ("done", 3)
    assert worker.info.generations == ((1, 1),)


class TimingOut(MemoryStore):
    """A store whose next call of a method seems to time out, because the loop was busy for long."""

    method = ""

    async def append(self, *args, **options):
        self.be_busy("append")
        return await super().append(*args, **options)

    async def read(self, *args, **options):
        self.be_busy("read")
        return await super().read(*args, **options)

    def be_busy(self, method):
        if method == self.method:
            self.method = ""
            time.sleep(3 * self.limits.lease)
            raise StoreError("no answer in time")


@pytest.mark.parametrize("method", ["append", "read"])
async def test_a_call_that_timed_out_while_the_loop_was_busy_is_made_again(method, monkeypatch):
    monkeypatch.setattr("dual_mode_streaming.recordings._tail._STORE_TIMEOUT", 0.05)
    store = TimingOut(Limits(lease=0.05))
    recordings = Recordings(store)
    gate = asyncio.Event()

    async def items():
        yield "1"
        await gate.wait()
        yield "2"

    request = RecordingRequest(operation=operation(), owner="", fingerprint="")
    info = await recordings.start(request, items)
    reading = recordings.read(info, Cursor(info.new.stream, 1, 0))
    seen = [await anext(reading)]
    store.method = method
    gate.set()
    seen += [record async for record in reading]
    assert [each.record.data for each in seen[:2]] == [b"1", b"2"]
    assert seen[2].record.name == "done"
    await recordings.aclose()


async def test_at_a_shutdown_a_recording_may_run_to_its_end(tmp_path):
    store = SQLiteStore(tmp_path / "file")
    recordings, gate, waits = Recordings(store), asyncio.Event(), asyncio.Event()

    async def items():
        yield "1"
        waits.set()
        await gate.wait()
        yield "2"

    request = RecordingRequest(operation=operation(), owner="", fingerprint="")
    info = await recordings.start(request, items)
    await waits.wait()
    closing = asyncio.create_task(recordings.aclose(patience=20))
    await asyncio.sleep(0)
    with pytest.raises(StoreError, match="shutting down"):
        await recordings.start(request, items)
    gate.set()
    await closing
    again = SQLiteStore(tmp_path / "file")
    info = await again.info(info.new.stream)
    assert (info.state, info.head) == ("done", 3)
    await again.aclose()


class Failing(MemoryStore):
    """A store that can be made to fail."""

    fails = True

    def __init__(self, limits):
        super().__init__(limits)
        self.calls = Counter()

    async def abandoned(self):
        self.calls["abandoned"] += 1
        if self.fails:
            raise StoreError("not there")
        return await super().abandoned()

    async def read(self, *args, **options):
        self.calls["read"] += 1
        if self.fails:
            raise StoreError("not there")
        return await super().read(*args, **options)


async def test_an_outage_is_logged_once_and_its_end(caplog):
    caplog.set_level("INFO")
    store = Failing(Limits(lease=0.02))
    recordings = Recordings(store)
    request = RecordingRequest(operation=operation(), owner="", fingerprint="")
    info = await recordings.start(request, words)
    reading = asyncio.create_task(anext(recordings.read(info, Cursor(info.new.stream, 1, 0))))
    async with asyncio.timeout(60):
        while min(store.calls["abandoned"], store.calls["read"]) < 3:
            await asyncio.sleep(0.01)
    assert len(caplog.messages) == 2, caplog.messages
    store.fails = False
    await reading
    async with asyncio.timeout(60):
        while "it is over" not in caplog.messages[-1]:
            await asyncio.sleep(0.01)
    assert len(caplog.messages) == 3
    await recordings.aclose()


STOPPED_WORKER = """
import asyncio, signal, sys
from dual_mode_streaming.recordings import RecordingRequest, Recordings
from dual_mode_streaming.stores import Limits, open_store
from tests.recordings.test_leases import operation

async def items():
    yield "before"
    await asyncio.Event().wait()

async def main():
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    recordings = Recordings(open_store(sys.argv[1], Limits(lease=3600)))
    request = RecordingRequest(operation=operation(resumes=True), owner="", fingerprint="")
    info = await recordings.start(request, items)
    while not await recordings.store.read(info.new.stream, 0):
        await asyncio.sleep(0.01)
    print(info.new.stream, flush=True)
    await stopped.wait()
    await recordings.aclose()

asyncio.run(main())
"""


@SHARED
async def test_a_worker_that_is_stopped_hands_its_streams_over_at_once(kind, tmp_path, request):
    """Its lease would last for an hour."""
    if kind == "sqlite":
        address = f"sqlite:{tmp_path / 'file'}"
    else:
        address = request.getfixturevalue("redis_server").url
    command = [sys.executable, "-c", STOPPED_WORKER, address]
    worker = await asyncio.to_thread(subprocess.Popen, command, stdout=subprocess.PIPE, text=True)
    recordings = Recordings(open_store(address, Limits(lease=3600)))
    recordings.add(operation(resumes=True))
    try:
        stream = (await asyncio.to_thread(worker.stdout.readline)).strip()
        running = await recordings.find(stream, "")
        assert (running.state, running.is_abandoned) == ("running", False)
        worker.terminate()
        assert await asyncio.to_thread(worker.wait, 60) == 0
        info = await recordings.find(stream, "")
        async with asyncio.timeout(60):
            read = [each async for each in recordings.read(info, Cursor(stream, 1, 0))]
        assert [each.record.data for each in read[:-1]] == [b"before", b"after 1"]
        assert read[-1].record.name == "done"
    finally:
        worker.kill()
        await asyncio.to_thread(worker.communicate)
        await recordings.aclose()


FROZEN_WORKER = """
import asyncio, ctypes, signal, sys
from dual_mode_streaming.recordings import RecordingRequest, Recordings
from dual_mode_streaming.stores import Limits, open_store
from tests.recordings.test_leases import LEASE, operation

signal.signal(signal.SIGUSR1, lambda *_: None)

async def main():
    announced, woken = asyncio.Event(), asyncio.Event()

    async def items():
        yield "before"
        await announced.wait()
        ctypes.PyDLL(None).pause()  # until a signal; it keeps the global lock
        woken.set()
        yield "too late"
        await asyncio.Event().wait()

    recordings = Recordings(open_store(sys.argv[1], Limits(lease=LEASE)))
    request = RecordingRequest(operation=operation(), owner="", fingerprint="")
    info = await recordings.start(request, items)
    while not await recordings.store.read(info.new.stream, 0):
        await asyncio.sleep(0.01)
    print(info.new.stream, flush=True)
    announced.set()
    await woken.wait()
    while recordings.producing:
        await asyncio.sleep(0.01)
    await recordings.aclose()

asyncio.run(main())
"""


async def test_who_holds_the_global_lock_beyond_the_lease_loses_the_stream_and_it_is_said(tmp_path):
    """No thread of the process can renew the lease then. There are never two writers."""
    address = f"sqlite:{tmp_path / 'file'}"
    command = [sys.executable, "-c", FROZEN_WORKER, address]
    worker = await asyncio.to_thread(subprocess.Popen, command, stdout=subprocess.PIPE, text=True)
    recordings = Recordings(open_store(address, Limits(lease=LEASE)))
    recordings.add(operation())
    try:
        stream = (await asyncio.to_thread(worker.stdout.readline)).strip()
        info = await recordings.find(stream, "")
        async with asyncio.timeout(60):
            read = [each async for each in recordings.read(info, Cursor(stream, 1, 0))]
        assert [each.record.data for each in read[:-1]] == [b"before"]
        assert read[-1].record.name == "interrupted"
        worker.send_signal(signal.SIGUSR1)
        assert await asyncio.to_thread(worker.wait, 60) == 0  # its generator has been stopped
        assert len(await recordings.store.read(stream, 0)) == 2
    finally:
        worker.kill()
        await asyncio.to_thread(worker.communicate)
        await recordings.aclose()


async def test_a_writer_that_leaves_keeps_the_lease_of_a_newer_one():
    recordings = Recordings(MemoryStore())
    await recordings.store.create(
        NewStream(stream="a" * 32, operation="", owner="", fingerprint="")
    )
    async with AsyncExitStack() as newer:
        async with recordings.writing("a" * 32, 1, 0, print):
            await newer.enter_async_context(recordings.writing("a" * 32, 2, 0, print))
        assert recordings._writers() == {"a" * 32: 2}
    assert recordings._writers() == {}
    await recordings.aclose()


class DeafStore(MemoryStore):
    """A store whose calls may lose a cancellation, as redis-py's do under Python 3.11."""

    def __init__(self) -> None:
        super().__init__(Limits(lease=0.1))
        self.asked, self.lost = asyncio.Event(), asyncio.Event()

    async def abandoned(self):
        self.asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self.lost.is_set():
                raise
            self.lost.set()
        return []


async def test_a_cancellation_that_is_lost_does_not_keep_recordings_open():
    store = DeafStore()
    recordings = Recordings(store)
    recordings.start_recovery()
    await store.asked.wait()
    await asyncio.wait_for(asyncio.create_task(recordings.aclose()), 60)
    assert store.lost.is_set()


async def test_tasks_are_cancelled_until_they_end():
    lost, begun = 0, asyncio.Event()

    async def deaf() -> None:
        nonlocal lost
        while True:
            try:
                begun.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
                if lost == 3:
                    raise

    task = asyncio.get_running_loop().create_task(deaf())
    await begun.wait()
    await end_tasks(task, None)
    assert task.cancelled()
    assert lost == 3
