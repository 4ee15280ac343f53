"""The defects of other SSE servers, by number, as tests of this one.

| | what breaks elsewhere | the test here |
|---|---|---|
| 1 | a slow reader leaves: cleanup at the garbage collector's leisure, in another task | below |
| 2 | a generator that never suspends freezes the loop for ever | `test_real_servers`: vanish |
| 3 | a busy stream starves everything else | below |
| 4 | an error in mid-stream ends like a success | `test_errors`, `test_real_servers` |
| 5 | HTTPException before the first item becomes a 200, under a middleware too | below |
| 6 | one exit flag for all servers; an import that patches | below, `server/test_shutdown` |
| 7 | a send timeout with a generator that holds an anyio scope | below |
| 8 | one stalled client holds up the others | below |
| 9 | an event lost between replay and live | needs a store: none yet |
| 10 | phantom events after an id | `test_event_source`, `test_sse` |
| 11 | sync generators stay open, and starve others | `test_cleanup`, `test_real_servers` |
| 12 | subclasses, headers and status set inside, an empty event | below, `test_errors` |
| 13 | test transports that collect an endless body | `testing/test_transport` |
| 14 | polling `is_disconnected()` under a middleware never ends | below |
| 15 | `retry: -5`, a BOM | `test_sse` |
"""

import asyncio
import contextvars
import gc
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
import fastapi.sse
import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from starlette.middleware.base import BaseHTTPMiddleware

from dual_mode_streaming import DualModeResponse, dual_mode
from dual_mode_streaming.server.run import StreamingProtocol
from dual_mode_streaming.testing import RawClient, assert_done, collect_events, serving

from .asgi import Client, get, on_virtual_clock

MODES = ["application/json", "text/event-stream", "application/jsonl"]


async def passing(request: Request, call_next: Any) -> Any:
    return await call_next(request)


async def test_1_a_slow_reader_that_leaves_is_cleaned_up_in_order(caplog):
    log: list[Any] = []
    tasks: set[Any] = set()
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    done = asyncio.Event()

    async def transaction():
        try:
            yield
            log.append("commit")
        except BaseException as error:
            log.append(error)
            raise
        finally:
            done.set()

    app = FastAPI()

    @app.get("/")
    @dual_mode
    async def source(t: None = Depends(transaction)) -> AsyncIterator[str]:
        token = variable.set("x")
        tasks.add(asyncio.current_task())
        try:
            with anyio.CancelScope():
                while True:
                    yield "x" * 65536
        finally:
            tasks.add(asyncio.current_task())
            await asyncio.sleep(0)
            variable.reset(token)
            log.append("closed")

    gc.disable()
    try:
        async with serving(app, http=StreamingProtocol) as url:
            async with RawClient.get(url + "/", receive_buffer=4096) as client:
                await client.until(b"data: ")
                client.abort()
                async with asyncio.timeout(60):
                    await done.wait()
    finally:
        gc.enable()
    assert log == ["closed", "commit"]
    assert len(tasks) == 1
    assert not [record for record in caplog.records if record.name != "asyncio"]


async def test_3_the_loop_goes_on_beside_a_busy_stream():
    app = FastAPI()

    made = 0

    @app.get("/")
    @dual_mode
    async def source() -> AsyncIterator[int]:
        nonlocal made
        for n in range(100_000):
            made += 1
            yield n

    stalls = [0]  # in items: a busy machine makes fewer of them in a time slice, and never more

    async def heart() -> None:
        last = made
        while True:
            await asyncio.sleep(0)
            stalls.append(made - last)
            last = made

    beating = asyncio.create_task(heart())
    assert len((await get(app)).events) == 100_001
    beating.cancel()
    assert max(stalls) < 10_000  # all of them elsewhere: 1.5 to 4 s


@pytest.mark.parametrize("accept", MODES)
async def test_5_a_404_before_the_first_item_under_a_middleware(accept):
    app = FastAPI()
    app.add_middleware(BaseHTTPMiddleware, dispatch=passing)

    @app.get("/{name}")
    @dual_mode
    async def source(name: str) -> AsyncIterator[int]:
        if name == "missing":
            raise HTTPException(404)
        yield 1
        await asyncio.sleep(0)
        yield 2

    assert (await get(app, "/missing", accept=accept)).status == 404
    answer = await get(app, "/there", accept=accept)
    assert answer.status == 200
    assert answer.complete


def test_6_an_import_has_no_effects():
    code = (
        "import sys, dual_mode_streaming as d; "
        "assert not {'fastapi', 'pydantic', 'uvicorn'} & set(sys.modules); "
        "d.dual_mode, d.DualModeResponse, d.install; assert 'uvicorn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("scope", [anyio.CancelScope, lambda: anyio.move_on_after(60)])
@on_virtual_clock
async def test_7_a_send_timeout_with_a_generator_in_a_cancel_scope(scope, caplog):
    log = []

    async def source() -> AsyncIterator[str]:
        with scope():
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep_forever)
                try:
                    while True:
                        yield "x" * 1000
                finally:
                    group.cancel_scope.cancel()
                    log.append("closed")

    app = FastAPI()
    app.get("/")(dual_mode(send_timeout=0.02)(source))
    client = Client(app, extensions={"dual_mode.abort": lambda: log.append("aborted")})
    client.pause()
    await client.run()
    assert log == ["closed", "aborted"]
    assert "isn't the current cancel scope" not in caplog.text


async def test_8_a_stalled_client_holds_up_nobody():
    app = FastAPI()

    @app.get("/stalled")
    @dual_mode
    async def stalled() -> AsyncIterator[str]:
        while True:
            yield "x" * 10_000

    @app.get("/other")
    @dual_mode
    async def other() -> AsyncIterator[int]:
        for n in range(40):
            await asyncio.sleep(0)
            yield n

    async with serving(app, http=StreamingProtocol) as url:
        async with RawClient.get(url + "/stalled", receive_buffer=4096) as client:
            await client.until(b"data: ")
            async with httpx.AsyncClient(base_url=url, timeout=60) as another:
                async with another.stream("GET", "/other?stream=true") as response:
                    assert assert_done(await collect_events(response)) == list(range(40))
            client.abort()


async def test_12_a_subclass_is_a_response_and_an_empty_event_is_nothing():
    class Mine(DualModeResponse):
        pass

    async def source() -> AsyncIterator[Any]:
        yield fastapi.sse.ServerSentEvent()
        yield 1

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await Mine(source(), headers={"X-Mine": "yes"})(scope, receive, send)

    answer = await get(app)
    assert answer.headers["x-mine"] == "yes"
    assert answer.body.startswith(b"id: ")
    assert json.loads(answer.events[-1].data) == {"items": 1}


@pytest.mark.parametrize("middlewares", [0, 1, 2])
async def test_14_polling_for_the_disconnect_does_no_harm(middlewares):
    log = []
    app = FastAPI()
    for _ in range(middlewares):
        app.add_middleware(BaseHTTPMiddleware, dispatch=passing)

    @app.get("/")
    @dual_mode
    async def source(request: Request) -> AsyncIterator[int]:
        try:
            yield 1
            while not await request.is_disconnected():
                await asyncio.sleep(0.001)
            log.append("polled")
        finally:
            log.append("closed")

    client = Client(app)
    async with client.running():
        await client.until(b"data: 1\n")
        client.leave()
    assert log[-1] == "closed"
