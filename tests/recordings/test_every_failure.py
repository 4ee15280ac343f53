"""Whatever a generator does wrong, its clients are told it in every mode; the process stays."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException

from dual_mode_streaming import Problem, ServerSentEvent, dual_mode, install
from dual_mode_streaming.testing import StreamingTransport

ACCEPT = {"batch": "application/json", "stream": "text/event-stream", "lines": "application/jsonl"}


class Odd(BaseException):
    """No Exception, and without a text."""

    def __str__(self) -> str:
        raise SystemExit("no text")

    __repr__ = __str__


class Unreadable:
    """Has no JSON, and fails when it is looked at."""

    @property
    def __dict__(self) -> Any:
        raise KeyboardInterrupt


def endless() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


async def cancel_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def cancelled_elsewhere() -> None:
    task = asyncio.ensure_future(asyncio.sleep(100))
    task.cancel()
    await task


def failing(make: Callable[[], BaseException]) -> Callable[[], Any]:
    async def fail() -> None:
        raise make()

    return fail


def yielding(make: Callable[[], Any]) -> Callable[[], Any]:
    async def item() -> Any:
        return make()

    return item


KINDS: tuple[type[BaseException], ...] = (
    *(ValueError, Odd, SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError, TimeoutError),
    *(StopAsyncIteration, StopIteration, asyncio.CancelledError, RecursionError),
)
FAILURES: dict[str, tuple[Callable[[], Any], int]] = {
    **{kind.__name__: (failing(kind), 500) for kind in KINDS},
    "group": (failing(lambda: ExceptionGroup("g", [ValueError()])), 500),
    "group of exits": (failing(lambda: BaseExceptionGroup("g", [SystemExit()])), 500),
    "group of cancellations": (
        failing(lambda: BaseExceptionGroup("g", [asyncio.CancelledError()])),
        500,
    ),
    "its own cancellation": (cancel_itself, 500),
    "another's cancellation": (cancelled_elsewhere, 500),
    "refusal": (failing(lambda: HTTPException(418, "tea")), 418),
    "member without JSON": (failing(lambda: Problem(409, "no", what=object())), 409),
    "surrogate": (failing(lambda: Problem(409, "\ud800")), 409),
    "item without JSON": (yielding(object), 500),
    "item that exits": (yielding(Unreadable), 500),
    "endless item": (yielding(endless), 500),
    "surrogate as an item": (yielding(lambda: "\ud800"), 500),
    "event without JSON": (yielding(lambda: ServerSentEvent(object(), event="a")), 500),
    "name with NUL": (yielding(lambda: ServerSentEvent("x", event="a\0b")), 500),
    **{
        f"event {name}": (yielding(lambda name=name: ServerSentEvent("x", event=name)), 500)
        for name in ("done", "error", "reset", "cancelled", "interrupted")
    },
}


def app_of(fail: Callable[[], Any]) -> FastAPI:
    app = FastAPI()
    install(app)

    async def source(first: int) -> AsyncIterator[Any]:
        for number in range(first):
            yield number
        if first:
            await asyncio.sleep(0)
        yield await fail()

    async def fold(items: AsyncIterator[Any]) -> list[Any]:
        return [item async for item in items]

    app.get("/plain/{first}")(dual_mode(source))
    app.get("/folded/{first}")(dual_mode(fold=fold)(source))
    app.get("/recorded/{first}")(dual_mode(record=True)(source))
    return app


@contextlib.asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = StreamingTransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as http,
    ):
        yield http


async def end_of(http: httpx.AsyncClient, path: str, mode: str) -> int | str:
    """The status of the failure, or what shows it."""
    body = b""
    try:
        async with http.stream("GET", path, headers={"accept": ACCEPT[mode]}) as answer:
            async for chunk in answer.aiter_raw():
                body += chunk
    except httpx.RemoteProtocolError:
        return "broken" if mode == "lines" else "broken off"
    if answer.status_code != 200 or mode != "stream":
        return answer.status_code
    return body.decode().rpartition("event: ")[2]


@pytest.mark.parametrize("name", FAILURES)
async def test_a_failure_is_told_in_every_mode(name, caplog):
    caplog.set_level(logging.CRITICAL)
    fail, status = FAILURES[name]
    async with asyncio.timeout(60), served(app_of(fail)) as http:
        for path in ("/plain", "/folded", "/recorded"):
            for mode in ACCEPT:
                assert await end_of(http, f"{path}/0", mode) == status, (path, mode)
            assert await end_of(http, f"{path}/2", "batch") == status, path
            assert await end_of(http, f"{path}/2", "lines") == "broken", path
            event = await end_of(http, f"{path}/2", "stream")
            assert str(event).startswith("error\n"), (path, event)
            assert f'"status":{status}' in str(event)


async def test_a_cancellation_that_never_arrives_is_no_failure(monkeypatch):
    for name in ("BATCH_SECONDS", "STREAM_SECONDS"):  # it would arrive when others have their turn
        monkeypatch.setattr(f"dual_mode_streaming.running.timeslice.{name}", 60.0)

    async def cancel_and_go_on() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "last"

    async with asyncio.timeout(60), served(app_of(cancel_and_go_on)) as http:
        for path in ("/plain", "/folded", "/recorded"):
            answer = await http.get(f"{path}/2", headers={"accept": ACCEPT["batch"]})
            assert answer.status_code == 200, path
            assert "last" in answer.text


@pytest.mark.parametrize("status", [400, 409, 429, 500, 502, 503, 504])
async def test_what_failed_in_passing_may_be_tried_again_under_its_key(status):
    app = FastAPI()
    install(app)
    calls: list[int] = []

    @app.post("/once")
    @dual_mode(record=True)
    async def once(first: int = 0) -> AsyncIterator[int]:
        calls.append(1)
        for number in range(first):
            yield number
        await asyncio.sleep(0)
        if len(calls) == 1:
            raise HTTPException(status, "not now", {"retry-after": "1"})
        yield 7

    passes = status in (429, 502, 503, 504)
    async with asyncio.timeout(60), served(app) as http:
        for first in (0, 2):
            calls.clear()
            key = {"idempotency-key": f"key-{first}"}
            failed = await http.post(f"/once?first={first}", headers=key)
            assert failed.status_code == status
            again = await asyncio.gather(
                *(http.post(f"/once?first={first}", headers=key) for _ in range(3))
            )
            assert {answer.status_code for answer in again} == {200 if passes else status}
            assert len(calls) == (2 if passes else 1), "several retries are one"
            other = await http.post("/once?first=1", headers=key)
            assert other.status_code == 422
