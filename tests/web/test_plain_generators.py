"""A plain generator behind an endpoint: one thread, whatever ends the answer, in every mode."""

import asyncio
import contextlib
import contextvars
import json
import sqlite3
import threading

import pytest
from fastapi import Depends, FastAPI, HTTPException

from dual_mode_streaming import BrokenTransfer, drain, dual_mode, install
from dual_mode_streaming.bridges import limit_threads

from .asgi import Client, get

tenant = contextvars.ContextVar("tenant", default="none")

ACCEPT = {
    "batch": "application/json",
    "fold": "application/json",
    "stream": "text/event-stream",
    "lines": "application/jsonl",
}
each_mode = pytest.mark.parametrize("mode", [*ACCEPT, "recorded"])


async def kept(items):
    return {"data": [item async for item in items]}


class Life:
    """A plain generator that uses a SQLite connection, and what became of it."""

    def __init__(self):
        self.threads = set()
        self.closed, self.entered, self.release = (threading.Event() for _ in range(3))

    def rows(self, n=3, then=None):
        connection = sqlite3.connect(":memory:")
        try:
            for number in range(n):
                self.threads.add(threading.get_ident())
                yield connection.execute("select ?", (number,)).fetchone()[0]
            self.entered.set()
            if then is not None:
                yield from then()
        finally:
            self.threads.add(threading.get_ident())
            connection.close()  # it refuses any other thread
            self.closed.set()

    def blocks(self):
        self.release.wait(60)
        yield 0

    def fails(self):
        raise HTTPException(502, "upstream")
        yield

    def for_ever(self):
        while True:
            yield 0


def app_of(source, mode, **options):
    app = FastAPI()
    install(app)
    if mode == "fold":
        options["fold"] = kept
    app.get("/")(dual_mode(record=mode == "recorded", **options)(source))
    return app


def accept(mode):
    return ACCEPT.get(mode, "text/event-stream")


async def one_thread(life):
    assert await asyncio.to_thread(life.closed.wait, 60)
    assert len(life.threads) == 1
    assert life.threads != {threading.get_ident()}


@each_mode
@pytest.mark.parametrize("then", ["ends", "fails"])
async def test_an_end_of_its_own(mode, then):
    life = Life()

    def source():
        yield from life.rows(then=life.fails if then == "fails" else None)

    app = app_of(source, mode)
    async with app.router.lifespan_context(app):
        broken = mode == "lines" and then == "fails"
        with pytest.raises(BrokenTransfer) if broken else contextlib.nullcontext():
            await get(app, accept=accept(mode))
        await one_thread(life)


@each_mode
@pytest.mark.parametrize("then", ["blocks", "for_ever"])
@pytest.mark.parametrize("end", ["disconnect", "drain", "duration"])
async def test_an_end_from_outside(mode, then, end):
    life = Life()

    def source():
        yield from life.rows(then=getattr(life, then))

    options = {} if mode == "recorded" else {"batch_items": 10**9}
    if end == "duration":
        options["max_duration"] = 0.05
    app = app_of(source, mode, **options)
    async with app.router.lifespan_context(app):
        client = Client(app, accept=accept(mode))
        exchange = asyncio.create_task(client.run())
        while not (life.entered.is_set() or exchange.done()):  # the duration may be over before
            await asyncio.sleep(0.001)
        if end == "disconnect":
            client.leave()
        draining = asyncio.create_task(drain(app)) if end == "drain" else None
        await asyncio.sleep(0)
        life.release.set()
        await asyncio.wait([exchange])
        if draining is not None:
            await draining
    if life.threads:
        await one_thread(life)


@each_mode
async def test_it_sees_the_context_of_its_dependencies_and_keeps_its_own(mode):
    async def named():
        tenant.set("dependency's")

    def source(_: None = Depends(named)):
        yield tenant.get()
        tenant.set("its own")
        yield tenant.get()

    app = app_of(source, mode)
    async with app.router.lifespan_context(app):
        client = await get(app, accept=accept(mode))
    assert client.body.index(b"dependency's") < client.body.index(b"its own")


async def test_one_that_blocks_does_not_stop_others():
    app, release = FastAPI(), threading.Event()
    install(app)

    @app.get("/blocks")
    @dual_mode(grace=0)
    def blocks():
        release.wait(60)
        yield 1

    @app.get("/quick")
    @dual_mode
    def quick():
        yield from range(3)

    async with app.router.lifespan_context(app):
        blocked = [asyncio.create_task(get(app, "/blocks", timeout=40)) for _ in range(60)]
        answers = await asyncio.gather(*(get(app, "/quick", accept=None) for _ in range(60)))
        assert not any(task.done() for task in blocked)
        assert [json.loads(answer.body)["data"] for answer in answers] == [[0, 1, 2]] * 60
        release.set()
        await asyncio.gather(*blocked)


@pytest.mark.parametrize(("grace", "status"), [(0, 200), (10, 503)])
async def test_no_free_thread_is_a_503(grace, status):
    app, release = FastAPI(), threading.Event()
    install(app)

    @app.get("/")
    @dual_mode(grace=grace)
    def source():
        release.wait(60)
        yield 1

    limit_threads(1, wait=0.02)
    try:
        first = asyncio.create_task(get(app, timeout=40))
        await asyncio.sleep(0)
        refused = await get(app, headers=[])
        assert refused.status == status
        body = refused.body if status == 503 else refused.events[-1].data
        assert json.loads(body)["status"] == 503
        assert "all 1 threads are in use" in json.loads(body)["detail"]
        release.set()
        assert (await first).events[-1].event == "done"
    finally:
        release.set()
        limit_threads()
