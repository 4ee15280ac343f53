"""Whoever leaves, and whenever: the generator's `finally` runs whole, in its own task, once."""

import asyncio
import gc
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from fastapi import Depends, HTTPException
from starlette.middleware.base import BaseHTTPMiddleware

from .asgi import Client, get, on_virtual_clock
from .witness import MODES, AnyTimeout, Witness, app_of, busy, idle, silent, variable


@pytest.mark.parametrize("accept", MODES)
@pytest.mark.parametrize("kind", [idle, silent, busy])
async def test_a_vanished_client_stops_the_generator(accept, kind):
    witness = Witness()
    app = app_of(kind(witness), batch_items=10**9, batch_bytes=10**12)
    client = Client(app, accept=accept)
    async with client.running():
        await witness.started.wait()
        client.leave()
    assert witness.log[-1] == "closed"
    assert len(witness.log) == 2
    assert len(witness.tasks) == 1, "closed by another task than the one that ran it"


@pytest.mark.parametrize("accept", MODES)
async def test_dependencies_exit_cleanly_and_after_the_generator(accept):
    witness = Witness()

    async def transaction():
        try:
            yield
        except BaseException as error:
            witness.log.append(f"dependency saw {error!r}")
            raise
        finally:
            witness.log.append("dependency exits")

    async def source(t: None = Depends(transaction)) -> AsyncIterator[int]:
        async with witness.watching():
            await asyncio.Event().wait()
            yield 1

    client = Client(app_of(source), accept=accept)
    async with client.running():
        await witness.started.wait()
        client.leave()
    assert witness.log == ["cancelled", "closed", "dependency exits"]


@pytest.mark.parametrize("accept", MODES)
@pytest.mark.parametrize("scope", [asyncio.timeout, anyio.fail_after])
@on_virtual_clock
async def test_a_timeout_middleware_does_not_interrupt_the_cleanup(accept, scope):
    witness = Witness()
    inner = app_of(silent(witness), grace=60)

    async def app(asgi_scope, receive, send):
        async with AnyTimeout(scope, 0.01):
            await inner(asgi_scope, receive, send)

    with pytest.raises(TimeoutError):
        await get(app, accept=accept)
    assert witness.log == ["cancelled", "closed"]


async def test_a_dependency_that_holds_a_task_group():
    witness = Witness()

    async def group():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            yield tasks
            tasks.cancel_scope.cancel()

    async def source(tasks: Any = Depends(group)) -> AsyncIterator[int]:
        async with witness.watching():
            yield 1
            await asyncio.Event().wait()

    client = Client(app_of(source))
    async with client.running():
        await client.until(b"data: 1\n")
        client.leave()
    assert witness.log in (["cancelled", "closed"], ["exit", "closed"])  # it may be at its yield


async def test_a_dependency_whose_task_group_fails():
    """The group cancels the request's task, over and over; the generator's it does not reach."""
    witness, fail = Witness(), asyncio.Event()

    async def child() -> None:
        await fail.wait()
        raise KeyError("child")

    async def group():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)
            yield

    async def source(tasks: Any = Depends(group)) -> AsyncIterator[int]:
        async with witness.watching():
            yield 1
            fail.set()
            await asyncio.Event().wait()

    with pytest.raises(BaseExceptionGroup, match="unhandled errors"):
        await get(app_of(source))
    assert witness.log == ["cancelled", "closed"]


@pytest.mark.parametrize(
    "ready", [0, 3, 20]
)  # items before it, quick ones, which are looked at less
async def test_a_generator_that_swallows_one_cancellation_ends(ready):
    log = []

    async def stubborn() -> AsyncIterator[int]:
        for number in range(ready):
            yield number
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            log.append("swallowed")
        try:
            yield 1
            log.append("went on")
            yield 2
        finally:
            await asyncio.sleep(0)
            log.append("closed")

    for accept in MODES:
        log.clear()
        started = asyncio.Event()
        client = Client(app_of(stubborn), accept=accept)
        async with client.running():
            await started.wait()
            client.leave()
        assert log == (
            ["swallowed", "went on", "closed"]
            if accept == "application/json" and "went on" in log
            else ["swallowed", "closed"]
        )


@on_virtual_clock
async def test_a_slow_cleanup_is_cancelled_a_second_time(caplog):
    log = []
    started = asyncio.Event()

    async def slow() -> AsyncIterator[int]:
        started.set()
        try:
            await asyncio.Event().wait()
            yield 1
        finally:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                log.append("second")
                raise

    client = Client(app_of(slow, cleanup_timeout=0.02))
    async with client.running():
        await started.wait()
        client.leave()
    assert log == ["second"]
    assert "cancelled again" in caplog.text


@on_virtual_clock
async def test_a_cleanup_that_never_ends_is_abandoned(caplog):
    started, release = asyncio.Event(), asyncio.Event()

    async def endless() -> AsyncIterator[int]:
        started.set()
        try:
            await asyncio.Event().wait()
            yield 1
        finally:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    pass

    client = Client(app_of(endless, cleanup_timeout=0.02))
    async with client.running():
        await started.wait()
        client.leave()
    assert "abandoned" in caplog.text
    release.set()
    await asyncio.sleep(0)


async def test_an_error_in_the_cleanup_is_logged(caplog):
    started = asyncio.Event()

    async def source() -> AsyncIterator[int]:
        started.set()
        try:
            await asyncio.Event().wait()
            yield 1
        finally:
            raise KeyError("in the cleanup")

    client = Client(app_of(source))
    async with client.running():
        await started.wait()
        client.leave()
    assert "KeyError: 'in the cleanup'" in caplog.text


@pytest.mark.parametrize("accept", MODES)
async def test_under_a_base_http_middleware(accept):
    witness = Witness()
    app = app_of(silent(witness))

    async def passing(request, call_next):
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=passing)
    app.add_middleware(BaseHTTPMiddleware, dispatch=passing)
    client = Client(app, accept=accept)
    async with client.running():
        await witness.started.wait()
        client.leave()
    assert witness.log == ["cancelled", "closed"]


@pytest.mark.parametrize("accept", MODES)
async def test_a_sync_generator_is_closed_when_its_next_returns(accept):
    import threading

    in_next, release, closed = threading.Event(), threading.Event(), threading.Event()

    def source():
        try:
            in_next.set()
            release.wait(60)
            yield 1
            yield 2
        finally:
            closed.set()

    client = Client(app_of(source), accept=accept)
    async with client.running():
        await asyncio.to_thread(in_next.wait, 60)
        client.leave()
        assert not closed.is_set()
        release.set()
    assert closed.is_set()


async def test_a_sync_generator_keeps_its_context():
    def source():
        variable.set("kept")
        yield 1
        yield variable.get()

    answer = await get(app_of(source))
    assert json.loads(answer.events[1].data) == "kept"


@pytest.mark.parametrize("accept", MODES)
@pytest.mark.parametrize("life", ["whole", "waits", "left", "fails"])
async def test_an_answer_leaves_nothing_for_the_garbage_collector(life, accept):
    """What hangs on a cycle, a large chunk say, would stay for nobody knows how long."""

    async def source() -> AsyncIterator[int]:
        if life == "waits":
            await asyncio.sleep(0)  # the watch for the disconnect begins, and is cancelled
        yield 1
        if life == "fails":
            raise HTTPException(418)
        if life == "left":
            await asyncio.Event().wait()

    async def asked() -> None:
        client = Client(app, accept=accept)
        task = asyncio.create_task(client.app(client.scope, client.receive, client.send))
        if life == "left":
            for _ in range(10):
                await asyncio.sleep(0)
            client.leave()
        await asyncio.wait({task})
        task.exception()

    app = app_of(source, grace=0)
    for _ in range(3):  # what is made once
        await asked()
    gc.collect()
    gc.freeze()  # a collection looks at what the answers leave, and is quick
    gc.disable()
    try:
        left = []
        while len(left) < 4:
            for _ in range(5):
                await asked()
            await asyncio.sleep(0)
            left.append(gc.collect())
        assert min(left) == 0, left  # other tests may leave something, too, but not each time
    finally:
        gc.enable()
        gc.unfreeze()


async def test_nothing_is_logged_when_a_client_just_leaves(caplog):
    witness = Witness()
    with caplog.at_level(logging.INFO):
        client = Client(app_of(idle(witness)))
        async with client.running():
            await client.until(b"data: 1\n")
            await client.watched.wait()
            client.leave()
    ours = [r for r in caplog.records if r.name.startswith("dual_mode_streaming")]
    assert not [r for r in ours if r.levelno > logging.INFO]
