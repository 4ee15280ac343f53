"""An app that is served again works like the first time: with or without lifespans, in any loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from dual_mode_streaming import Admission, Record, drain, dual_mode, first, install
from dual_mode_streaming.stores import MemoryStore, RedisStore, SQLiteStore
from dual_mode_streaming.streams import Broadcast, stream_content
from tests.stores.conftest import *  # noqa: F403  (the Redis server)

EVENTS = {"accept": "text/event-stream"}
STORES = ["memory", "sqlite", "redis"]


def store_of(kind: str, as_object: bool, tmp_path: Any, request: Any) -> Any:
    if kind == "memory":
        return MemoryStore() if as_object else "memory"
    if kind == "sqlite":
        path = tmp_path / "streams.db"
        return SQLiteStore(path) if as_object else f"sqlite:{path}"
    url = request.getfixturevalue("redis_server").url
    return RedisStore(url) if as_object else url


def app_of(store: Any = "memory", **options: Any) -> FastAPI:
    app = FastAPI()
    install(app, store=store, **options)
    shared = Broadcast(lambda: stream_content([1, 2]), history=2, stop_after_last=True)
    gate = asyncio.Lock()

    @app.get("/rec")
    @dual_mode(record=True)
    async def rec() -> AsyncIterator[int]:
        yield 1
        yield 2

    @app.get("/plain")
    @dual_mode(feed=True)
    async def plain() -> AsyncIterator[int]:
        async with gate:
            yield 1
        async with shared.subscribe() as items:
            async for item in items:
                yield item

    return app


def by_lifespans(app: FastAPI, use: Any) -> None:
    for _ in 1, 2, 3:
        with TestClient(app) as http:
            use(http)


def without_lifespans(app: FastAPI, use: Any) -> None:
    for _ in 1, 2:
        use(TestClient(app))  # a loop for each request
    with TestClient(app):
        pass  # which closes the store


def in_turns(app: FastAPI, use: Any) -> None:
    with TestClient(app) as http:
        use(http)
        use(TestClient(app))
        use(http)


def after_a_drain(app: FastAPI, use: Any) -> None:
    for _ in 1, 2:
        with TestClient(app) as http:
            use(http)
            http.portal.call(drain, app)
            assert http.get("/rec").status_code == 503
            assert http.get("/plain").status_code == 503


@pytest.mark.parametrize("serve", [by_lifespans, without_lifespans, in_turns, after_a_drain])
@pytest.mark.parametrize("as_object", [True, False])
@pytest.mark.parametrize("kind", STORES)
def test_an_app_is_served_again(kind, as_object, serve, tmp_path, request):
    if kind == "redis" and serve in (without_lifespans, in_turns):
        return  # nothing closes its connections, of which Python complains

    def use(http: TestClient) -> None:
        answer = http.get("/rec", headers={"idempotency-key": "k"})
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"data": [1, 2]}
        assert http.get(answer.headers["location"]).json() == {"data": [1, 2]}
        events = http.get("/rec", headers=EVENTS).text
        assert events.count("event: done") == 1
        assert http.get("/plain").json() == {"data": [1, 1, 2]}

    admission = Admission(streams=1, client_streams=1)
    serve(app_of(store_of(kind, as_object, tmp_path, request), admission=admission), use)


@pytest.mark.parametrize("as_object", [True, False])
def test_a_memory_store_ends_with_the_lifespan_and_a_durable_one_stays(as_object, tmp_path):
    for kind, status in ("memory", 404), ("sqlite", 200):
        app = app_of(store_of(kind, as_object, tmp_path, None))
        with TestClient(app) as http:
            location = http.get("/rec").headers["location"]
        with TestClient(app) as http:
            assert http.get(location).status_code == status


@pytest.mark.parametrize("kind", STORES)
def test_the_store_of_an_endpoint_is_opened_again(kind, tmp_path, request):
    app = FastAPI()
    install(app)

    @app.get("/rec")
    @dual_mode(record=Record(store=store_of(kind, True, tmp_path, request)))
    async def rec() -> AsyncIterator[int]:
        yield 1

    for _ in 1, 2:
        with TestClient(app) as http:
            location = http.get("/rec").headers["location"]
            assert http.get(location).json() == {"data": [1]}
    if kind != "memory":
        with TestClient(app) as http:
            assert http.get(location).json() == {"data": [1]}


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_without_a_lifespan_in_loop_after_loop(kind, tmp_path, request):
    app = app_of(store_of(kind, True, tmp_path, request))

    async def use() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            location = (await http.get("/rec")).headers["location"]
            assert (await http.get(location)).json() == {"data": [1, 2]}
            await drain(app)
            assert (await http.get("/rec")).status_code == 503

    for _ in 1, 2:
        asyncio.run(use())
    with TestClient(app):
        pass  # which closes the store


def test_lifespans_in_one_loop():
    app = app_of()

    async def use() -> None:
        for _ in 1, 2:
            async with app.router.lifespan_context(app):
                transport = httpx.ASGITransport(app)
                async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
                    assert (await http.get("/rec")).status_code == 200
                    await drain(app)

    asyncio.run(use())


class Closes(MemoryStore):
    closed = 0

    async def aclose(self) -> None:
        self.closed += 1
        await super().aclose()


@pytest.mark.parametrize("when", ["before", "after", "replaced", "on_event"])
def test_whatever_lifespan_the_app_has_ours_runs_once_and_inside(when):
    store, log = Closes(), []

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, int]]:
        log.append(("start", store.closed))
        yield {"given": 1}
        log.append(("stop", store.closed))

    app = FastAPI(lifespan=lifespan if when == "before" else None)
    install(app, store=store)
    if when == "replaced":
        app.router.lifespan_context = lifespan
    elif when == "after":
        ours = app.router.lifespan_context

        @contextlib.asynccontextmanager
        async def around(app: FastAPI) -> AsyncIterator[Any]:
            async with lifespan(app) as given, ours(app):
                yield given

        app.router.lifespan_context = around

    @app.get("/rec")
    @dual_mode(record=True)
    async def rec(request: Request) -> AsyncIterator[int]:
        yield getattr(request.state, "given", 1)

    for number in 1, 2:
        with TestClient(app) as http:
            assert http.get("/rec").json() == {"data": [1]}
        assert store.closed == number
    if when != "on_event":
        assert log == [("start", 0), ("stop", 1), ("start", 1), ("stop", 2)]


def test_a_start_that_fails_is_a_failed_start():
    class Fails(MemoryStore):
        def reopen(self) -> None:
            raise OSError("no disk")

    app = app_of(Fails())
    app.router.lifespan_context = FastAPI().router.lifespan_context
    with pytest.raises(OSError, match="no disk"), TestClient(app):
        pass


def test_a_broadcast_of_the_module_is_there_in_every_lifespan():
    async def ticks() -> AsyncIterator[int]:
        number = 0
        while True:
            number += 1
            yield number
            await asyncio.sleep(0)

    kept, owned = Broadcast(ticks), Broadcast(ticks)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with owned:
            yield

    app = FastAPI(lifespan=lifespan)
    install(app)

    def endpoint_of(feed: Broadcast[int]) -> Any:
        async def endpoint() -> AsyncIterator[int]:
            async with feed.subscribe() as items:
                async for item in items:
                    yield item

        return dual_mode(fold=first, feed=True)(endpoint)

    app.get("/kept")(endpoint_of(kept))
    app.get("/owned")(endpoint_of(owned))
    for _ in 1, 2, 3:
        with TestClient(app) as http:
            for path in "/kept", "/owned":
                assert http.get(path).json() > 0
