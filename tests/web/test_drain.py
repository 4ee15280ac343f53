"""A drain, and the other ends that the server sets: none of them looks like a whole answer."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, HTTPException, Response

from dual_mode_streaming import BrokenTransfer, drain, dual_mode, install
from dual_mode_streaming.running.owner import End, Owner

from .asgi import Client, get, on_virtual_clock
from .witness import Witness, app_of, idle, silent


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


@on_virtual_clock
async def test_what_took_too_long_never_looks_whole():
    answer = await get(app_of(graceful(Witness()), batch_seconds=0.02), accept="application/json")
    assert answer.status == 504
    answer = await get(app_of(graceful(Witness()), max_duration=0.02))
    assert answer.events[-1].event == "error"


@on_virtual_clock
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


@on_virtual_clock
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
        await asyncio.wait_for(running, 60)


@pytest.mark.parametrize(("patience", "status"), [(20, 200), (0.02, 503), (0, 503)])
async def test_a_batch_has_some_time_to_complete_in_a_drain(patience, status):
    app = FastAPI()
    install(app, drain_timeout=patience)
    started, gate = asyncio.Event(), asyncio.Event()

    @app.get("/")
    @dual_mode
    async def source() -> AsyncIterator[int]:
        started.set()
        await gate.wait()
        yield 1

    batch = Client(app, accept="application/json")
    async with batch.running():
        await started.wait()
        draining = asyncio.create_task(drain(app))
        await asyncio.sleep(0)
        if status == 200:
            assert (await get(app)).status == 503  # it takes no others
            gate.set()
        await draining
    assert batch.status == status


@pytest.mark.parametrize("late", ["1", "a\x01b"])
async def test_headers_that_are_set_after_the_commit_are_told_in_a_drain_too(late, caplog):
    app = FastAPI()
    install(app)
    set_late = asyncio.Event()

    @app.get("/")
    @dual_mode
    async def source(response: Response) -> AsyncIterator[int]:
        yield 1
        response.headers["x-late"] = late
        set_late.set()
        await asyncio.Event().wait()

    client = Client(app)
    async with client.running():
        await client.until(b"data: 1\n")
        await set_late.wait()
        await drain(app)
    assert b"event: error" in client.body
    assert "headers were set after they were sent" in caplog.text
