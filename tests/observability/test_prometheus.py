"""Metrics of responses and stores: open streams, events, durations, ends, refusals."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from dual_mode_streaming import dual_mode, install
from dual_mode_streaming.limits import Admission
from dual_mode_streaming.observability.prometheus import PrometheusObserver
from dual_mode_streaming.streams import Broadcast
from tests.web.asgi import Client, get

STREAM = {"route": "/numbers/{upto}", "mode": "stream"}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def app(registry) -> FastAPI:
    app = FastAPI()
    install(app, observers=[PrometheusObserver(registry)], admission=Admission(streams=1))

    @app.get("/numbers/{upto}")
    @dual_mode
    async def numbers(upto: int) -> AsyncIterator[int]:
        for number in range(upto):
            yield number
            await asyncio.sleep(0)
        if upto > 5:
            await asyncio.Event().wait()

    @app.get("/recorded")
    @dual_mode(record=True)
    async def recorded() -> AsyncIterator[int]:
        yield 1

    return app


async def test_events_times_and_ends(app, registry):
    await get(app, "/numbers/3")
    await get(app, "/numbers/4")
    value = registry.get_sample_value
    assert value("dual_mode_events_sent_total", STREAM) == 7
    assert value("dual_mode_first_event_seconds_count", STREAM) == 2
    assert 3 <= value("dual_mode_event_gap_seconds_count", STREAM) <= 5
    assert value("dual_mode_stream_ends_total", {**STREAM, "reason": "done"}) == 2
    assert value("dual_mode_streams_open", STREAM) == 0


async def test_open_and_refused_streams(app, registry):
    value = registry.get_sample_value
    client = Client(app, "/numbers/6")
    async with client.running():
        await client.until(b"data: 5\n")
        assert value("dual_mode_streams_open", STREAM) == 1
        assert (await get(app, "/numbers/3")).status == 503
        client.leave()
    assert value("dual_mode_streams_open", STREAM) == 0
    assert value("dual_mode_streams_refused_total", {"reason": "streams"}) == 1
    assert value("dual_mode_stream_ends_total", {**STREAM, "reason": "disconnected"}) == 1


async def test_no_client_can_invent_a_label(app, registry):
    for path in ("/numbers/1", "/numbers/2", "/nothing", "/numbers/x"):
        await get(app, path)
    routes = {
        sample.labels["route"]
        for metric in registry.collect()
        for sample in metric.samples
        if "route" in sample.labels
    }
    assert routes == {"/numbers/{upto}"}


async def test_calls_of_a_store_are_timed(app, registry):
    async with app.router.lifespan_context(app):
        await get(app, "/recorded")
        assert (await get(app, f"/streams/{'0' * 32}")).status == 404
    value = registry.get_sample_value
    for operation in ("create", "append", "info"):
        labels = {"operation": operation, "failed": "false"}
        assert value("dual_mode_store_seconds_count", labels) >= 1


async def test_the_depth_of_a_queue_and_its_dropped_items(registry):
    observer = PrometheusObserver(registry)
    more = asyncio.Event()

    async def source() -> AsyncIterator[int]:
        for number in range(4):
            yield number
        await more.wait()
        for number in range(4, 12):
            yield number

    def seen() -> tuple[float | None, float | None]:
        observer.refresh()
        labels = {"queue": "numbers"}
        depth = registry.get_sample_value("dual_mode_queue_depth", labels)
        return depth, registry.get_sample_value("dual_mode_items_dropped_total", labels)

    async with Broadcast(source, maxsize=4) as numbers:
        observer.watch_queue("numbers", lambda: numbers.depth, lambda: numbers.dropped)
        assert seen() == (0, 0)
        async with numbers.subscribe() as fast, numbers.subscribe() as slow:
            assert [await anext(fast) for _ in range(4)] == [0, 1, 2, 3]
            assert await anext(slow) == 0
            assert seen() == (4, 0), "a chunk counts as read when the next is taken"
            more.set()
            assert [await anext(fast) for _ in range(4)] == [8, 9, 10, 11]
            assert [await anext(slow) for _ in range(3)] == [8, 9, 10]
            depth, dropped = seen()
            assert dropped > 0
            assert depth <= 4
            assert seen()[1] == dropped, "counted once"
