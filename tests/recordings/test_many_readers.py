"""Many readers of one recorded stream: what they share, and what continues with a slow store."""

import asyncio
import contextlib
import itertools

import httpx
import pytest
from fastapi import FastAPI

from dual_mode_streaming import dual_mode, install
from dual_mode_streaming.recordings import Cursor, RecordingRequest, Recordings, StreamRecord
from dual_mode_streaming.recordings._tail import Tail, TailReader
from dual_mode_streaming.stores import MemoryStore, NewStream, RedisStore
from dual_mode_streaming.testing import StreamingTransport
from tests.stores.redis_server import RedisServer

from .slow_stores import FaultyRecordings, FaultyStore


@pytest.fixture
def redis(tmp_path):
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


async def test_all_readers_in_a_process_have_one_connection_that_listens(redis):
    store = RedisStore(redis.url)
    recordings = Recordings(store)
    gate = asyncio.Event()

    async def source():
        yield 0
        await gate.wait()
        yield 1

    started = 0

    async def read(info):
        nonlocal started
        sequences = []
        after = Cursor(info.new.stream, 1, 0)
        async with contextlib.aclosing(recordings.read(info, after)) as records:
            async for stored in records:
                started += not sequences
                sequences.append(stored.cursor.sequence)
        return sequences

    request = RecordingRequest(operation=FaultyRecordings().operation, owner="", fingerprint="")
    streams = [await recordings.start(request, source) for _ in range(2)]
    readers = [asyncio.create_task(read(info)) for info in streams for _ in range(50)]
    async with asyncio.timeout(60):
        while started < 100:
            await asyncio.sleep(0.01)
    listening = await asyncio.to_thread(redis.ask, "CLIENT LIST TYPE pubsub")
    assert len(listening.splitlines()) == 1
    gate.set()
    assert await asyncio.gather(*readers) == [[1, 2, 3]] * 100
    await recordings.aclose()


async def test_heartbeats_go_on_while_the_store_takes_nothing():
    store = FaultyStore()
    app = FastAPI()
    install(app, store=store)
    made = 0
    gate = asyncio.Event()

    @app.get("/endless")
    @dual_mode(record=True, heartbeat=0.01)
    async def endless():
        nonlocal made
        for made in itertools.count(1):
            yield "x" * 1000
            if made == 2:
                await asyncio.sleep(0)

    async def shut(payloads, end):
        if payloads and made > 2:
            await gate.wait()

    store.before = shut
    transport = StreamingTransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as http,
        http.stream("GET", "/endless", headers={"accept": "text/event-stream"}) as response,
    ):
        beats = 0
        async for chunk in response.aiter_raw():
            beats += chunk.count(b": ping")
            if beats >= 5:
                break
        paused = made
        assert (paused - 2) * 1000 <= 64 * 1024 + 1000  # two were taken before
        await asyncio.sleep(0.05)
        assert made == paused
        gate.set()
        while made == paused:
            await asyncio.sleep(0.01)


async def test_who_waits_for_a_document_is_told_that_the_store_is_out_of_reach():
    store = FaultyStore()
    app = FastAPI()
    install(app, store=store)

    @app.get("/never")
    @dual_mode(record=True)
    async def never():
        await asyncio.sleep(1000)
        yield 1

    transport = StreamingTransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as http,
    ):
        begun = await http.get("/never", headers={"prefer": "respond-async"})
        found = store.info

        async def info(stream):  # the first call looks whether the stream exists
            here = await found(stream)
            store.failing.add("info")
            return here

        store.info = info
        answer = await http.get(f"{begun.headers['location']}?wait=10")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        store.failing.clear()


@pytest.mark.parametrize(("new", "size", "reads"), [(0, 10, 1), (1, 10, 1), (0, 4_000, None)])
async def test_readers_that_are_a_little_behind_share_a_read_or_do_not_wait(new, size, reads):
    """What is too large to be kept is read by each beside the others, not one after another."""
    readers, stored = 20, 100
    store = MemoryStore()
    await store.create(NewStream(stream="a" * 32, operation="op"))
    records = [StreamRecord("json", "", b"1" * size).pack() for _ in range(stored + new)]
    await store.append("a" * 32, 1, 1, records[:stored])
    tail = Tail(store, await store.info("a" * 32), recovered)
    tail.readers = readers
    if new:
        await store.append("a" * 32, 1, stored + 1, records[stored:])
        async with asyncio.timeout(60):
            while not tail._kept:
                await asyncio.sleep(0)
    read, count, together, most = store.read, 0, 0, 0

    async def slow(*arguments, **options):
        nonlocal count, together, most
        if "size" not in options:  # of the tail itself
            return await read(*arguments, **options)
        count, together = count + 1, together + 1
        most = max(most, together)
        for _ in range(100):
            await asyncio.sleep(0)
        together -= 1
        return await read(*arguments, **options)

    store.read = slow

    async def all_of_it() -> list[int]:
        reader, got = TailReader(tail, Cursor("a" * 32, 1, 0)), []
        while len(got) < stored + new:
            got += [each.cursor.sequence for each in await reader.next()]
        return got

    try:
        everything = await asyncio.gather(*(all_of_it() for _ in range(readers)))
    finally:
        await tail.close()
    assert everything == [list(range(1, stored + new + 1))] * readers
    assert count == reads or (reads is None and most >= readers - 1)


async def recovered(stream: str) -> None: ...
