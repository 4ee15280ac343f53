"""An app with recorded endpoints on any store, and helpers for its tests."""

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from dual_mode_streaming import Record, ServerSentEvent, dual_mode, install
from dual_mode_streaming.stores import Limits, MemoryStore, RedisStore, SQLiteStore
from dual_mode_streaming.testing import StreamingTransport, collect_events

EVENTS = {"accept": "text/event-stream"}

on_every_store = pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"], indirect=True)
"""For tests in which each store is a risk. All other tests run on memory, and on all stores only in
`make test-full`."""


class Item(BaseModel):
    n: int


class Stage:
    """An app with recorded endpoints, and events and counts of their generators."""

    def __init__(self, **installed):
        self.app = app = FastAPI()
        install(app, **installed)
        self.starts = 0
        self.closed = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

        async def total(items: AsyncIterator[Item]) -> dict[str, int]:
            return {"total": sum([item.n async for item in items])}

        @app.get("/count")
        @dual_mode(record=True)
        async def count(upto: int = 5, gate_at: int = -1, fail_at: int = -1) -> AsyncIterator[Item]:
            self.starts += 1
            try:
                for n in range(upto):
                    if n == gate_at:
                        await self.gate.wait()
                    if n == fail_at:
                        raise HTTPException(418, "tea", {"Retry-After": "7"})
                    yield Item(n=n)
            finally:
                self.closed.set()

        @app.post("/sum")
        @dual_mode(record=True, fold=total)
        async def add(body: list[int]) -> AsyncIterator[Item]:
            for n in body:
                await self.gate.wait()
                yield Item(n=n)

        @app.get("/mixed")
        @dual_mode(record=True)
        async def mixed() -> AsyncIterator[ServerSentEvent | Item]:
            yield ServerSentEvent(data="plain\ntext", event="note", id="mine")
            yield ServerSentEvent(comment="not recorded")
            yield ServerSentEvent(data={"a": 1})
            yield Item(n=1)

        @app.get("/unread")
        @dual_mode(record=Record(unread=0))
        async def unread() -> AsyncIterator[int]:
            try:
                for n in itertools.count():
                    await asyncio.sleep(0.01)
                    yield n
            finally:
                self.closed.set()


class Stores:
    """Opens stores of one kind."""

    def __init__(self, kind, folder, redis=None):
        self.kind = kind
        self._folder = folder
        self._redis = redis

    def open(self, name=None, **limits):
        """Open a store. Two with the same name have the same streams, except in memory."""
        name, bounds = name or secrets.token_hex(4), Limits(**limits)
        if self.kind == "sqlite":
            return SQLiteStore(self._folder / f"{name}.db", bounds, synchronous="OFF")
        if self.kind == "redis":
            return RedisStore(self._redis.url, bounds, prefix=name)
        return MemoryStore(bounds)


@asynccontextmanager
async def running(app):
    """Run an app's lifespan, and yield a client of it."""
    transport = StreamingTransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        yield client


def names_and_data(events):
    return [(event.event, event.data) for event in events]


async def events_of(http, url, **headers):
    async with http.stream("GET", url, headers={**EVENTS, **headers}) as response:
        assert response.status_code == 200
        return await collect_events(response)
