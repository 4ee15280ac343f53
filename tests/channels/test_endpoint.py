"""A subscription under `dual_mode`: resumable events, a batch of what there is, lines."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI
from fastapi.encoders import jsonable_encoder
from pydantic import BaseModel

from dual_mode_streaming import Channel, Problem, drain, dual_mode, install
from dual_mode_streaming.channels import Subscription
from dual_mode_streaming.errors import StoreError
from dual_mode_streaming.recordings import Recordings
from dual_mode_streaming.testing import StreamingTransport, collect_events

EVENTS = {"accept": "text/event-stream"}


class Order(BaseModel):
    id: int
    state: str = "new"


class Public(BaseModel):
    id: int


orders = Channel("endpoint/{id}", Order)
short = Channel("short", Order, max_messages=3)


@asynccontextmanager
async def serving(app):
    transport = StreamingTransport(app)
    async with app.router.lifespan_context(app):
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            yield http


@pytest.fixture(
    params=["memory", *(pytest.param(kind, marks=pytest.mark.full) for kind in ("sqlite", "redis"))]
)
def kind(request):
    return request.param


@pytest.fixture
def app(store):
    app = FastAPI()
    install(app, store=store, signals=False, channels=True)
    app.state.left = threading.Event()

    async def total(items: AsyncIterator[Order]) -> int:
        return sum([item.id async for item in items])

    @app.post("/orders/{id}/pay")
    async def pay(id: int) -> str:
        return await orders.publish(Order(id=id, state="paid"), id=id)

    @app.post("/threaded/{id}/pay")
    def pay_in_a_thread(id: int) -> str:
        return orders.sync.publish(Order(id=id, state="paid"), id=id)

    @app.get("/orders/{id}/events")
    @dual_mode
    def events(id: str) -> AsyncIterator[Order]:
        return orders.subscribe(id=id)

    @app.get("/later/{id}")
    @dual_mode
    async def later(id: int) -> Subscription[Order]:
        await asyncio.sleep(0)
        return orders.subscribe(id=id, from_="now")

    @app.get("/public/{id}")
    @dual_mode
    def public(id: int) -> AsyncIterator[Public]:
        return orders.subscribe(id=id)

    @app.get("/hidden/{id}", response_model_exclude={"state"})
    @dual_mode
    def hidden(id: int) -> AsyncIterator[Order]:
        return orders.subscribe(id=id)

    @app.get("/total/{id}")
    @dual_mode(fold=total)
    def totalled(id: int) -> AsyncIterator[Order]:
        return orders.subscribe(id=id)

    @app.get("/items/{id}")
    @dual_mode
    async def items(id: int) -> AsyncIterator[Order]:
        async for order in orders.subscribe(id=id):
            yield order

    @app.get("/plain/{id}")
    @dual_mode
    def plain(id: int) -> Iterator[Order]:
        try:
            yield from orders.sync.subscribe(id=id)
        finally:
            app.state.left.set()

    @app.get("/recorded")
    @dual_mode(record=True)
    def recorded() -> AsyncIterator[Order]:
        return short.subscribe()

    @app.get("/short")
    @dual_mode
    def shortened() -> AsyncIterator[Order]:
        return short.subscribe()

    return app


@pytest.fixture
async def http(app):
    async with serving(app) as http:
        yield http


async def events_of(http, path, count, **headers):
    """The first events of a stream, then the client leaves."""
    async with asyncio.timeout(60), http.stream("GET", path, headers=EVENTS | headers) as response:
        assert response.status_code == 200, await response.aread()
        return await collect_events(response, count)


async def test_history_by_the_last_event_id_and_then_live(http):
    cursors = [(await http.post("/orders/1/pay")).json() for _ in range(3)]
    events = await events_of(http, "/orders/1/events", 3)
    assert [event.id for event in events] == cursors
    assert json.loads(events[0].data) == {"id": 1, "state": "paid"}
    waiting = asyncio.create_task(
        events_of(http, "/orders/1/events", 2, **{"last-event-id": cursors[1]})
    )
    await asyncio.sleep(0)
    later = (await http.post("/threaded/1/pay")).json()
    assert [event.id for event in await waiting] == [cursors[2], later]
    query = await events_of(http, f"/orders/1/events?lastEventId={cursors[2]}", 1)
    assert [event.id for event in query] == [later]


async def test_a_batch_is_what_there_is(http):
    assert (await http.get("/orders/2/events")).json() == {"data": []}
    for _ in range(2):
        await http.post("/orders/2/pay")
    item = {"id": 2, "state": "paid"}
    assert (await http.get("/orders/2/events")).json() == {"data": [item, item]}
    assert (await http.get("/total/2")).json() == 4
    assert (await http.get("/hidden/2")).json() == {"data": [{"id": 2}] * 2}


async def test_what_the_endpoint_declares_of_the_items_is_honoured(http):
    cursor = (await http.post("/orders/3/pay")).json()
    for path in ("/public/3", "/hidden/3"):
        (event,) = await events_of(http, path, 1)
        assert (event.id, json.loads(event.data)) == (cursor, {"id": 3})
        assert (await http.get(path)).json() == {"data": [{"id": 3}]}


async def test_the_end_of_a_channel_is_done_and_lines_end(http):
    await http.post("/orders/4/pay")
    await orders.close(id=4)
    *_, done = await events_of(http, "/orders/4/events", 9)
    assert (done.event, json.loads(done.data)) == ("done", {"items": 1})
    lines = await http.get("/orders/4/events", headers={"accept": "application/jsonl"})
    assert [json.loads(line)["id"] for line in lines.text.splitlines()] == [4]
    again = await http.get("/orders/4/events", headers=EVENTS | {"last-event-id": done.id})
    assert again.status_code == 204
    assert (await http.post("/orders/4/pay")).status_code == 409


async def test_an_error_at_the_end_is_that_of_the_answer(http):
    await http.post("/orders/9/pay")
    await orders.close(id=9, error=Problem(418, "it broke"))
    _, error = await events_of(http, "/orders/9/events", 9)
    assert (error.event, json.loads(error.data)["status"]) == ("error", 418)
    assert (await http.get("/orders/9/events")).status_code == 418


@pytest.mark.parametrize("cursor", ["x", "0123456789.4", "0" * 32 + ".1.1"])
async def test_a_cursor_of_something_else_begins_anew_and_says_so(http, cursor):
    there = (await http.post("/orders/5/pay")).json()
    reset, first = await events_of(http, "/orders/5/events", 2, **{"last-event-id": cursor})
    assert reset.event == "reset"
    assert json.loads(reset.data) == {
        "reason": "not_recorded",
        "requested": cursor,
        "earliest": there,
        "head": there,
    }
    assert json.loads(first.data)["id"] == 5


async def test_what_retention_took_is_a_reset(http):
    cursors = [await short.publish(Order(id=number)) for number in range(9)]
    reset, *events = await events_of(http, "/short", 4, **{"last-event-id": cursors[1]})
    assert json.loads(reset.data) == {
        "reason": "trimmed",
        "requested": cursors[1],
        "earliest": cursors[6],
        "head": cursors[8],
    }
    assert [event.id for event in events] == cursors[6:]


async def test_a_function_that_yields_messages_is_a_stream_like_any_other(http):
    await http.post("/orders/6/pay")
    (event,) = await events_of(http, "/items/6", 1)
    assert json.loads(event.data)["id"] == 6


async def test_a_channel_is_not_recorded(http, caplog):
    assert (await http.get("/recorded")).status_code == 500
    assert "a channel is stored already" in caplog.text


async def test_a_name_that_the_client_chose_is_checked(http):
    for name in ("..", "a%2Fb", "%00", "%7Bid%7D"):
        response = await http.get(f"/orders/{name}/events", headers=EVENTS)
        assert response.status_code in (400, 404)


async def test_a_slow_reader_does_not_delay_what_is_published(http):
    await orders.publish(Order(id=7), id=7)
    async with http.stream("GET", "/orders/7/events", headers=EVENTS) as response:
        assert response.status_code == 200
        for _ in range(300):
            await orders.publish(Order(id=7, state="x" * 2000), id=7)
    assert len(await orders.read(id=7)) == 301


async def test_a_frame_is_rendered_once_for_all_readers(http, monkeypatch):
    from dual_mode_streaming.web import _channel_source

    rendered = []
    render = _channel_source._event
    monkeypatch.setattr(
        _channel_source, "_event", lambda *args: rendered.append(args) or render(*args)
    )
    await orders.publish(Order(id=8), id=8)
    async with AsyncExitStack() as stack:
        readers = [
            await stack.enter_async_context(http.stream("GET", "/orders/8/events", headers=EVENTS))
            for _ in range(20)
        ]  # each has its first message, so it follows the channel
        live = [await orders.publish(Order(id=8), id=8) for _ in range(3)]
        seen = [await collect_events(response, 4) for response in readers]
    assert all(events == seen[0] for events in seen)
    assert [cursor for _, cursor, _ in rendered if cursor in live] == live


async def test_what_many_missed_is_read_and_rendered_once(app, http, store, monkeypatch):
    from dual_mode_streaming.web import _channel_source

    rendered = []
    render = _channel_source._event
    monkeypatch.setattr(
        _channel_source, "_event", lambda *args: rendered.append(args[1]) or render(*args)
    )
    cursors = [await orders.publish(Order(id=10), id=10) for _ in range(5)]
    async with http.stream("GET", "/orders/10/events", headers=EVENTS) as first:
        await collect_events(first, 5)  # the channel is followed
        rendered.clear()
        later = await asyncio.gather(*(events_of(http, "/orders/10/events", 5) for _ in range(20)))
    assert all([event.id for event in events] == cursors for events in later)
    assert sorted(rendered) == sorted(cursors)


async def test_a_plain_generator_ends_with_its_client_although_it_waits(app, http, caplog):
    await orders.publish(Order(id=11), id=11)
    (event,) = await events_of(http, "/plain/11", 1)
    assert json.loads(event.data)["id"] == 11
    assert await asyncio.to_thread(app.state.left.wait, 60)  # nothing more is published
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_subscription_without_dual_mode_shows_nothing_of_itself():
    with pytest.raises(ValueError, match="'Subscription' object is not iterable"):
        jsonable_encoder(orders.subscribe(id=1))  # as FastAPI does with what is returned


async def drained(app, http, path, headers):
    """Return the body of a stream that has some items and is open in a drain."""
    body = b""
    async with http.stream("GET", path, headers=headers) as answer:
        async for chunk in answer.aiter_raw():
            if not body:
                await drain(app)
            body += chunk
    return body.decode()


@pytest.mark.parametrize(
    "path", ["/orders/7/events", "/later/7", "/public/7", "/channels/endpoint/7"]
)
async def test_a_drain_ends_a_subscription_as_a_feed_so_that_its_reader_goes_on(app, http, path):
    """An `error` event would end what any client can go on with by its cursor."""
    await orders.publish(Order(id=1), id=7)
    body = await drained(app, http, path, EVENTS)
    assert "event: error" not in body
    assert body.rstrip().splitlines()[-1].startswith("retry: ")


@pytest.mark.parametrize("path", ["/orders/8/events", "/channels/endpoint/8"])
async def test_a_store_that_fails_interrupts_a_subscription_and_its_reader_goes_on(
    app, http, path, store, monkeypatch
):
    async def failing(*_, **__):
        raise StoreError("on purpose")
        yield

    monkeypatch.setattr(Recordings, "read", failing)
    app.state.dual_mode.defaults["grace"] = 0
    await orders.publish(Order(id=1), id=8)
    answer = await http.get(path, headers=EVENTS)
    assert answer.status_code == 200
    assert "event: error" not in answer.text
    assert answer.text.rstrip().splitlines()[-1].startswith("retry: ")


@pytest.mark.parametrize("mounted", [False, True])
async def test_of_two_apps_in_a_loop_each_has_its_own_channels(mounted):
    notes = Channel("notes-of-two", str)

    def an_app():
        app = FastAPI()
        install(app, store="memory", signals=False)

        @app.post("/notes")
        async def publish(text: str) -> str:
            return await notes.publish(text)

        @app.post("/threaded")
        def threaded(text: str) -> str:
            return notes.sync.publish(text)

        @app.get("/notes")
        @dual_mode
        def watch() -> AsyncIterator[str]:
            return notes.subscribe()

        return app

    one, other = an_app(), an_app()
    if mounted:
        one.mount("/other", other)
    async with AsyncExitStack() as stack:
        for app in (one, other):
            http = httpx.AsyncClient(transport=StreamingTransport(app), base_url="http://test")
            async with http:  # before its lifespan
                assert (await http.get("/notes")).json() == {"data": []}
            await stack.enter_async_context(app.router.lifespan_context(app))
        http = httpx.AsyncClient(transport=StreamingTransport(one), base_url="http://test")
        http = await stack.enter_async_context(http)
        if not mounted:
            http2 = httpx.AsyncClient(transport=StreamingTransport(other), base_url="http://test")
            http2 = await stack.enter_async_context(http2)
        assert (await http.post("/notes?text=a")).status_code == 200
        assert (await http.post("/threaded?text=b")).status_code == 200
        assert (await http.get("/notes")).json() == {"data": ["a", "b"]}
        there = await (http.get("/other/notes") if mounted else http2.get("/notes"))
        assert there.json() == {"data": []}
        with pytest.raises(RuntimeError, match="more than one app"):
            await notes.publish("x")
