"""Whoever leaves, and whenever: the generator's `finally` runs whole, in its own task, once."""

import asyncio
import contextvars
import gc
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from starlette.middleware.base import BaseHTTPMiddleware

from dual_mode_streaming import BrokenTransfer, DualModeResponse, drain, dual_mode, install
from dual_mode_streaming.running.owner import End, Owner

from .asgi import Client, get, on_virtual_clock

MODES = ["application/json", "text/event-stream", "application/jsonl"]
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")


class Witness:
    """What a generator's life looked like from inside."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.log: list[str] = []
        self.tasks: set[Any] = set()

    @asynccontextmanager
    async def watching(self):
        token = variable.set("inside")
        self.tasks.add(asyncio.current_task())
        self.started.set()
        try:
            yield
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise
        except GeneratorExit:
            self.log.append("exit")
            raise
        finally:
            self.tasks.add(asyncio.current_task())
            await asyncio.sleep(0)
            await asyncio.sleep(0)  # a cancel at every await would interrupt the second one too
            with anyio.CancelScope():
                await anyio.sleep(0)
            variable.reset(token)  # ValueError in another context
            self.log.append("closed")


def idle(witness: Witness):
    async def source() -> AsyncIterator[int]:
        async with witness.watching():
            yield 1
            await asyncio.Event().wait()

    return source


def silent(witness: Witness):
    async def source() -> AsyncIterator[int]:
        async with witness.watching():
            await asyncio.Event().wait()
            yield 1

    return source


def busy(witness: Witness):
    async def source() -> AsyncIterator[str]:
        async with witness.watching():
            while True:
                yield "x" * 1000

    return source


def app_of(function: Any, **options: Any) -> FastAPI:
    app = FastAPI()
    app.get("/")(dual_mode(**options)(function))
    return app


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


async def test_a_backpressured_generator_is_closed_too():
    witness = Witness()
    client = Client(app_of(busy(witness)))
    client.pause()
    async with client.running():
        await client.blocked.wait()
        client.leave()
    assert witness.log == ["exit", "closed"]
    assert len(witness.tasks) == 1


async def test_backpressure_pauses_the_generator():
    made = 0

    async def source() -> AsyncIterator[str]:
        nonlocal made
        while True:
            made += 1
            yield "x" * 1000

    client = Client(app_of(source))
    client.pause()
    async with client.running():
        await client.blocked.wait()
        seen = made
        for _ in range(100):
            await asyncio.sleep(0)
        assert made == seen <= 40
        client.leave()


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
async def test_a_timeout_middleware_does_not_interrupt_the_cleanup(accept, scope):
    witness = Witness()
    inner = app_of(silent(witness), grace=60)

    async def app(asgi_scope, receive, send):
        async with AnyTimeout(scope, 0.01):
            await inner(asgi_scope, receive, send)

    with pytest.raises(TimeoutError):
        await get(app, accept=accept)
    assert witness.log == ["cancelled", "closed"]


class AnyTimeout:
    def __init__(self, scope: Any, seconds: float) -> None:
        self.scope = scope(seconds)
        self.is_async = hasattr(self.scope, "__aenter__")

    async def __aenter__(self):
        return await self.scope.__aenter__() if self.is_async else self.scope.__enter__()

    async def __aexit__(self, *info):
        return await self.scope.__aexit__(*info) if self.is_async else self.scope.__exit__(*info)


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


async def test_scopes_and_timeouts_inside_the_generator_work():
    async def source() -> AsyncIterator[str]:
        with anyio.move_on_after(0.001):
            await anyio.sleep_forever()
        yield "after move_on_after"
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            yield "after timeout"
        async with asyncio.TaskGroup() as group:
            task = group.create_task(asyncio.sleep(0, "result"))
        yield task.result()

    answer = await get(app_of(source))
    assert [json.loads(event.data) for event in answer.events[:-1]] == [
        "after move_on_after",
        "after timeout",
        "result",
    ]


@pytest.mark.parametrize("rest", ["items", "its end", "a cancellation"])
async def test_a_source_goes_on_after_a_timeout_across_its_yields(rest):
    async def source():
        try:
            async with asyncio.timeout(0.02):
                while True:
                    yield "x" * 1000
        except TimeoutError:
            if rest == "its end":
                return
        yield "after it"
        if rest == "a cancellation":
            raise asyncio.CancelledError
        yield "and more"

    client = Client(app_of(source))
    client.pause()
    async with client.running():
        await client.blocked.wait()
        await asyncio.sleep(0.05)  # the timeout is real time, and so must be the wait for it
        client.room.set()
    data, last = [json.loads(event.data) for event in client.events], client.events[-1]
    assert last.event == ("error" if rest == "a cancellation" else "done")
    assert (data[-3:-1] == ["after it", "and more"]) == (rest == "items")
    assert ("after it" in data) == (rest != "its end")


@pytest.mark.parametrize("scope", [asyncio.timeout, anyio.fail_after])
async def test_a_timeout_across_yields_fires_while_the_reader_is_slow(scope):
    """It is the source's own, though it hits our send: it surfaces as its TimeoutError."""

    async def source() -> AsyncIterator[str]:
        async with AnyTimeout(scope, 0.02):
            while True:
                yield "x" * 1000

    client = Client(app_of(source))
    client.pause()
    async with client.running():
        await client.blocked.wait()
        await asyncio.sleep(0.05)  # the timeout is real time, and so must be the wait for it
        client.room.set()
    assert client.events[-1].event == "error"
    assert len(client.events) > 1, "what was made before the timeout is delivered"
    assert client.complete


@pytest.mark.parametrize("accept", ["text/event-stream", "application/jsonl"])
async def test_a_reader_that_stalls_frees_the_generator_and_is_cut(accept):
    witness, aborted = Witness(), []
    client = Client(
        app_of(busy(witness), send_timeout=0.02),
        accept=accept,
        extensions={"dual_mode.abort": lambda: aborted.append(1)},
    )
    client.pause()
    await client.run()
    assert witness.log == ["exit", "closed"]
    assert aborted == [1]


async def test_without_a_way_to_abort_the_response_breaks():
    witness = Witness()
    client = Client(app_of(busy(witness), send_timeout=0.02))
    client.pause()
    with pytest.raises(BrokenTransfer):
        await client.run()
    assert witness.log == ["exit", "closed"]


async def test_a_stalled_reader_of_an_idle_stream_is_found_by_the_heartbeat():
    witness, aborted = Witness(), []
    client = Client(
        app_of(idle(witness), send_timeout=0.02, heartbeat=0.01),
        extensions={"dual_mode.abort": lambda: aborted.append(1)},
    )
    async with client.running():
        await client.until(b"data: 1\n")
        client.pause()
    assert aborted == [1]
    assert witness.log == ["cancelled", "closed"]


async def test_a_server_whose_send_raises_has_lost_its_client():
    witness = Witness()
    client = Client(app_of(busy(witness)))

    async def send(message: dict[str, Any]) -> None:
        if len(client.messages) > 3:
            raise OSError("gone")
        client.messages.append(message)

    client.send = send
    await client.run()
    assert witness.log[-1] == "closed"


@pytest.mark.parametrize("grace", [0, 0.01])
async def test_a_heartbeat_or_head_that_cannot_be_sent_ends_the_stream(grace, caplog):
    """By a middleware of the app's, say, that fails."""
    witness = Witness()
    client = Client(app_of(silent(witness), grace=grace, heartbeat=0.01))

    async def send(message: dict[str, Any]) -> None:
        failing = not client.messages if grace else len(client.messages) == 2
        client.messages.append(message)
        if failing:
            raise ValueError("on purpose")

    client.send = send
    await client.run()
    assert witness.log == ["cancelled", "closed"]
    assert "head or heartbeat of a stream could not be sent" in caplog.text
    assert "on purpose" in caplog.text


async def test_a_server_whose_receive_raises_has_lost_its_client():
    witness = Witness()
    client = Client(app_of(idle(witness)))

    async def receive() -> dict[str, Any]:
        raise RuntimeError("gone")

    client.receive = receive
    await client.run()
    assert witness.log == ["cancelled", "closed"]


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


# --- sync generators -----------------------------------------------------------------------------


@pytest.mark.parametrize("accept", MODES)
async def test_a_sync_generator_is_closed_when_its_next_returns(accept):
    import threading

    in_next, release, closed = threading.Event(), threading.Event(), threading.Event()

    def source():
        try:
            in_next.set()
            release.wait(10)
            yield 1
            yield 2
        finally:
            closed.set()

    client = Client(app_of(source), accept=accept)
    async with client.running():
        await asyncio.to_thread(in_next.wait, 10)
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


# --- garbage -------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", MODES)
@pytest.mark.parametrize("life", ["whole", "left", "fails"])
async def test_an_answer_leaves_nothing_for_the_garbage_collector(life, accept):
    """What hangs on a cycle, a large chunk say, would stay for nobody knows how long."""

    async def source() -> AsyncIterator[int]:
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


# --- bodies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", MODES)
async def test_a_generator_that_reads_the_body_gets_every_byte(accept):
    async def echo(request: Request) -> AsyncIterator[str]:
        await asyncio.sleep(0)  # the watch for the disconnect begins here
        async for chunk in request.stream():
            await asyncio.sleep(0)
            if chunk:
                yield chunk.decode()

    app = FastAPI()
    app.post("/")(dual_mode(echo))
    chunks = [str(n).encode() for n in range(20)]
    answer = await get(app, accept=accept, method="POST", body=chunks)
    assert all(f'"{n}"'.encode() in answer.body for n in range(20))


async def test_an_unread_body_does_not_hide_the_disconnect():
    witness = Witness()

    async def source(request: Request) -> AsyncIterator[int]:
        async with witness.watching():
            await asyncio.Event().wait()
            yield 1

    app = FastAPI()
    app.post("/")(dual_mode(source))
    client = Client(app, method="POST", body=[b"x" * 1000] * 20)
    async with client.running():
        await witness.started.wait()
        client.leave()
    assert witness.log == ["cancelled", "closed"]


@on_virtual_clock
async def test_a_large_body_that_is_never_read_does_not_hide_the_disconnect():
    witness = Witness()

    async def source(request: Request) -> AsyncIterator[int]:
        async with witness.watching():
            await asyncio.Event().wait()
            yield 1

    app = FastAPI()
    app.post("/")(dual_mode(source))
    client = Client(app, method="POST", body=[b"x" * 100_000] * 5)
    client.patience = 100
    async with client.running():
        await witness.started.wait()
        await asyncio.sleep(1)
        assert client.chunks, "so much is not held of what nobody reads"
        client.leave()
    assert witness.log == ["cancelled", "closed"]


@on_virtual_clock
async def test_a_large_body_is_kept_for_a_generator_that_reads_it_late():
    async def late(request: Request) -> AsyncIterator[int]:
        await asyncio.sleep(10)
        async for chunk in request.stream():
            await asyncio.sleep(60)  # and slowly
            yield len(chunk)

    app = FastAPI()
    app.post("/")(dual_mode(late))
    answer = await get(app, method="POST", body=[b"x" * 100_000] * 9, patience=1000)
    assert [event.data for event in answer.events][:-1] == ["100000"] * 9 + ["0"]


@on_virtual_clock
async def test_a_large_body_that_is_read_too_late_is_missed_aloud():
    async def too_late(request: Request) -> AsyncIterator[int]:
        yield 0
        await asyncio.sleep(60)
        try:
            yield len(await request.body())
        except RuntimeError as error:
            told.append(str(error))
            raise

    told: list[str] = []
    app = FastAPI()
    app.post("/")(dual_mode(too_late))
    answer = await get(app, method="POST", body=[b"x" * 100_000] * 5, patience=1000)
    assert [event.event for event in answer.events] == [None, "error"]
    assert told == ["the request's body was not read within 30 s, and is gone"]


async def test_on_plain_starlette_the_request_is_handed_over():
    async def app(scope, receive, send):
        request = Request(scope, receive)

        async def echo():
            await asyncio.sleep(0)
            yield (await request.body()).decode()

        await DualModeResponse(echo(), request=request)(scope, receive, send)

    answer = await get(app, method="POST", body=[b"a", b"b", b"c"])
    assert json.loads(answer.events[0].data) == "abc"


# --- drain ---------------------------------------------------------------------------------------


async def test_drain_ends_what_is_open_and_tells_it():
    app = FastAPI()
    install(app)
    witnesses = {}
    for path, kind, options in [
        ("/finite", idle, {}),
        ("/feed", idle, {"feed": True}),
        ("/silent", silent, {"grace": 60}),
    ]:
        witness = witnesses[path] = Witness()
        app.get(path)(dual_mode(**options)(kind(witness)))

    finite, feed = Client(app, "/finite"), Client(app, "/feed")
    pending = Client(app, "/silent")
    batch = Client(app, "/finite", accept="application/json")
    async with finite.running(), feed.running(), pending.running(), batch.running():
        await finite.until(b"data: 1\n")
        await feed.until(b"data: 1\n")
        await drain(app)
    assert [event.event for event in finite.events] == [None, "error"]
    assert json.loads(finite.events[-1].data)["status"] == 503
    assert ".end" not in finite.body.decode(), "readers come again"
    assert [event.event for event in feed.events] == [None]
    assert feed.complete
    assert pending.status == batch.status == 503
    assert pending.headers["vary"] == "Accept"
    assert all(witness.log[-1] == "closed" for witness in witnesses.values())


def graceful(witness: Witness):
    async def source() -> AsyncIterator[int]:
        witness.started.set()
        try:
            yield 1
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return  # a generator that takes a cancellation for a reason to stop

    return source


async def test_what_a_drain_has_cut_never_looks_whole():
    app = FastAPI()
    install(app)
    app.get("/")(dual_mode(graceful(Witness())))
    stream = Client(app)
    witness = Witness()
    app.get("/batch")(dual_mode(graceful(witness)))
    batch = Client(app, "/batch", accept="application/json")
    async with stream.running(), batch.running():
        await stream.until(b"data: 1\n")
        await witness.started.wait()
        await drain(app)
    assert stream.events[-1].event == "error"
    assert batch.status == 503
    late = await get(app)
    assert late.status == 503, "what drains takes no new answers"
    assert late.headers["retry-after"] == "1"


async def test_what_took_too_long_never_looks_whole():
    answer = await get(app_of(graceful(Witness()), batch_seconds=0.02), accept="application/json")
    assert answer.status == 504
    answer = await get(app_of(graceful(Witness()), max_duration=0.02))
    assert answer.events[-1].event == "error"


async def test_a_batch_that_does_not_end_is_no_answer(caplog):
    release = asyncio.Event()

    async def endless() -> AsyncIterator[int]:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                pass
        yield 1

    app = app_of(endless, batch_seconds=0.02, cleanup_timeout=0.02)
    with pytest.raises(BrokenTransfer):
        await get(app, accept="application/json")
    assert "abandoned" in caplog.text
    release.set()
    await asyncio.sleep(0)


async def test_a_stream_has_a_longest_duration():
    witness = Witness()
    answer = await get(app_of(idle(witness), max_duration=0.02))
    assert answer.events[-1].event == "error"
    assert ".end" not in answer.body.decode()
    assert witness.log == ["cancelled", "closed"]


async def test_two_installs_are_one_too_many():
    app = FastAPI()
    install(app)
    with pytest.raises(RuntimeError, match="once is enough"):
        install(app)


async def test_nothing_is_logged_when_a_client_just_leaves(caplog):
    witness = Witness()
    with caplog.at_level(logging.INFO):
        client = Client(app_of(idle(witness)))
        async with client.running():
            await client.until(b"data: 1\n")
            client.leave()
    ours = [r for r in caplog.records if r.name.startswith("dual_mode_streaming")]
    assert not [r for r in ours if r.levelno > logging.INFO]


@pytest.mark.parametrize("before", [True, False])
async def test_an_answer_that_is_stopped_before_its_first_step_still_tells_why(before):
    owner = Owner(cleanup_timeout=1)

    async def answer() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert owner.end is End.DRAINING
            raise HTTPException(503) from None

    loop = asyncio.get_running_loop()
    if before:
        owner.stop(End.DRAINING)
    running = asyncio.create_task(owner.run(answer()))
    loop.call_soon(owner.stop, End.DRAINING)  # the answer's task is made then, and has not run
    with pytest.raises(HTTPException):
        await asyncio.wait_for(running, 20)
