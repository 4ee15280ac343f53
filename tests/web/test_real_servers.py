"""Real servers, real sockets: uvicorn, hypercorn and granian tell success from failure, and notice
who leaves."""

import asyncio
import contextlib
import json
import statistics
import sys
import time
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from dual_mode_streaming import dual_mode, install
from dual_mode_streaming.server.run import StreamingProtocol
from dual_mode_streaming.testing import RawClient, assert_done, collect_events, serving

from .servers import COMMANDS, started

APP = """
import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from fastapi import FastAPI, HTTPException
from dual_mode_streaming import dual_mode, install

app = FastAPI()
install(app)
closed = Path(__file__).with_name("closed")

@app.get("/three")
@dual_mode
async def three() -> AsyncIterator[int]:
    for n in range(3):
        yield n
        await asyncio.sleep(0)

@app.get("/missing")
@dual_mode
async def missing() -> AsyncIterator[int]:
    raise HTTPException(404)
    yield 1

@app.get("/broken")
@dual_mode
async def broken() -> AsyncIterator[int]:
    yield 1
    await asyncio.sleep(0)
    raise KeyError("secret")

@app.get("/endless")
@dual_mode
async def endless() -> AsyncIterator[int]:
    try:
        yield 1
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        closed.write_text("closed")
"""

LOAD = Path(__file__).parent.parent / "storms" / "load.py"


@pytest.fixture(params=COMMANDS)
def server(request, tmp_path):
    with started(request.param, APP, tmp_path) as (_, url):
        yield url, tmp_path


async def test_every_server_tells_the_same(server):
    url, place = server
    stream = {"Accept": "text/event-stream"}
    lines = {"Accept": "application/jsonl"}
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        assert (await client.get("/three")).json() == {"data": [0, 1, 2]}
        async with client.stream("GET", "/three", headers=stream) as response:
            assert assert_done(await collect_events(response)) == [0, 1, 2]
        assert (await client.get("/three", headers=lines)).text == "0\n1\n2\n"
        for headers in ({}, stream, lines):
            response = await client.get("/missing", headers=headers)
            assert response.status_code == 404
            assert response.headers["vary"] == "Accept"
        async with client.stream("GET", "/broken", headers=stream) as response:
            events = await collect_events(response)
        assert [event.event for event in events] == [None, "error"]
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/broken", headers=lines)
        async with client.stream("GET", "/endless", headers=stream) as response:
            await collect_events(response, limit=1)
    async with asyncio.timeout(60):
        while not (place / "closed").exists():
            await asyncio.sleep(0.005)  # another process tells by a file


# --- who leaves is noticed at once ---------------------------------------------------------------


class Crowd:
    """Streams of one kind, and when each was closed."""

    def __init__(self) -> None:
        self.open = 0
        self.made = 0  # items, but those of `idle`
        self.closed: list[float] = []

    @contextlib.contextmanager
    def member(self):
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1
            self.closed.append(time.perf_counter())

    async def idle(self) -> AsyncIterator[int]:
        with self.member():
            yield 1
            await asyncio.Event().wait()

    async def stalled(self) -> AsyncIterator[str]:
        with self.member():
            while True:
                self.made += 1
                yield "x" * 60_000

    async def busy(self) -> AsyncIterator[str]:
        with self.member():
            while True:
                self.made += 1
                yield "x" * 100


@pytest.mark.parametrize("kind", ["idle", "stalled", "busy"])
async def test_many_that_vanish_are_all_cleaned_up(kind):
    await median_cleanup(kind, 100)


@pytest.mark.full
@pytest.mark.parametrize("kind", ["idle", "stalled", "busy"])
async def test_many_that_vanish_are_cleaned_up_at_once(kind):
    medians = []
    while not medians or (medians[-1] >= 0.1 and len(medians) < 3):  # a machine has other work too
        medians.append(await median_cleanup(kind, 500))
    print(f"500 {kind}: medians of the waits for the cleanup, in seconds: {medians}")
    assert min(medians) < 0.1


async def median_cleanup(kind: str, many: int) -> float:
    """Wait until all generators are closed; return how long after the resets, at the median, in s.

    No task may be left.
    """
    crowd = Crowd()
    app = FastAPI()
    app.get("/")(dual_mode(getattr(crowd, kind)))
    before = asyncio.all_tasks()
    async with serving(app, http=StreamingProtocol) as url:
        readers = await asyncio.create_subprocess_exec(
            *(sys.executable, str(LOAD), url.rpartition(":")[2], "/", str(many), "4096"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(50):
            assert json.loads(await readers.stdout.readline()) == {"open": many}
            assert crowd.open == many
            if kind == "stalled":
                made = 0
                while crowd.made != made:  # until nobody has room for more
                    made = crowd.made
                    for _ in range(100):
                        await asyncio.sleep(0)
            left = json.loads((await readers.communicate(b"vanish\n"))[0])["moments"]
            while crowd.open:
                await asyncio.sleep(0.001)
    left_over = asyncio.all_tasks() - before
    assert not {task for task in left_over if not task.done()}
    return statistics.median(closed - gone for closed, gone in zip(crowd.closed, left, strict=True))


@pytest.mark.parametrize("kind", ["stalled", "busy"])
async def test_a_reader_that_never_reads_is_let_go_and_its_connection_closed(kind):
    crowd = Crowd()
    app = FastAPI()
    app.get("/")(dual_mode(send_timeout=0.1)(getattr(crowd, kind)))
    async with serving(app, http=StreamingProtocol) as url:
        async with RawClient.get(url + "/", receive_buffer=4096) as client:
            await client.until(b"data: ")
            async with asyncio.timeout(60):
                while crowd.open:
                    await asyncio.sleep(0.001)
            with pytest.raises(ConnectionResetError):  # what it has not read is thrown away
                await client.rest()


async def test_an_item_that_has_left_is_not_kept_while_the_next_is_waited_for():
    class Large(dict):
        pass

    made = []

    def large() -> Large:
        item = Large(index=1)
        made.append(weakref.ref(item))
        return item

    async def source():
        yield large()
        await asyncio.Event().wait()

    app = FastAPI()
    app.get("/")(dual_mode(source))
    async with serving(app) as url, RawClient.get(url + "/") as client:
        await client.until(b"data: ")
        assert made[0]() is None


async def test_a_busy_stream_does_not_freeze_the_server():
    crowd = Crowd()
    app = FastAPI()
    app.get("/")(dual_mode(crowd.busy))

    @app.get("/other")
    async def other() -> int:
        return 1

    async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        async with RawClient.get(url + "/") as reader:
            reading = asyncio.create_task(reader.rest())
            meanwhile = []
            for _ in range(20):
                before = crowd.made
                assert (await client.get("/other")).text == "1"
                meanwhile.append(crowd.made - before)
            assert statistics.median(meanwhile) < 250_000  # items; usual are 20,000
            reader.abort()
            await asyncio.wait({reading})


# --- middlewares ---------------------------------------------------------------------------------


async def test_cors_and_gzip_leave_the_stream_whole_and_unbuffered():
    gate = asyncio.Event()

    async def source() -> AsyncIterator[int]:
        yield 1
        await gate.wait()
        yield 2

    app = FastAPI()
    app.get("/")(dual_mode(source))
    app.add_middleware(GZipMiddleware, minimum_size=1)
    app.add_middleware(CORSMiddleware, allow_origins=["http://elsewhere"])
    install(app)
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        headers = {"Origin": "http://elsewhere", "Accept-Encoding": "gzip"}
        for accept in ("text/event-stream", "application/jsonl"):
            gate.clear()
            headers["Accept"] = accept
            async with client.stream("GET", "/", headers=headers) as response:
                assert response.headers["access-control-allow-origin"] == "http://elsewhere"
                chunks = response.aiter_bytes()
                assert b"1\n" in await anext(chunks)  # before the second item exists
                gate.set()
                assert b"2\n" in b"".join([chunk async for chunk in chunks])
        headers["Accept"] = "application/json"
        response = await client.get("/", headers=headers)
        assert response.headers["content-encoding"] == "gzip"
        assert {name.strip() for name in response.headers["vary"].split(",")} >= {
            "Accept",
            "Accept-Encoding",
        }
        assert json.loads(response.text) == {"data": [1, 2]}


async def test_sixty_sync_streams_leave_the_threads_to_others():
    """Defect 11 of the peers: they share the thread pool with every plain sync endpoint."""
    import threading

    release = threading.Event()

    def source():
        yield 1
        release.wait(50)
        yield 2

    app = FastAPI()
    app.get("/")(dual_mode(source))

    @app.get("/plain")
    def plain() -> int:
        return 1

    async with serving(app) as url, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(RawClient.get(url + "/")) for _ in range(60)]
        for client in clients:
            await client.until(b"data: 1\n")
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            assert (await client.get("/plain")).text == "1"
        release.set()
        for client in clients:
            await client.until(b"event: done")
