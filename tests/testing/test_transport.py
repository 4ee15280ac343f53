"""The test transport: streaming, back-pressure, disconnects and errors."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request

from dual_mode_streaming import ServerSentEvent, dual_mode
from dual_mode_streaming.testing import (
    RawClient,
    StreamingTransport,
    assert_done,
    assert_error,
    collect_events,
    read_events,
    serving,
)

STREAM = {"Accept": "text/event-stream"}


def client_of(app, **options) -> httpx.AsyncClient:
    transport = StreamingTransport(app, **options)
    return httpx.AsyncClient(transport=transport, base_url="http://test", headers=STREAM)


def app_of(function, **options) -> FastAPI:
    app = FastAPI()
    app.get("/")(dual_mode(**options)(function))
    return app


async def test_an_endless_stream_does_not_hang_and_closing_it_is_a_disconnect():
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[int]:
        n = 0
        try:
            while True:
                yield n
                n += 1
                await asyncio.sleep(0)
        finally:
            closed.set()

    async with client_of(app_of(endless)) as client:
        async with client.stream("GET", "/") as response:
            events = await collect_events(response, limit=3)
        assert [event.data for event in events] == ["0", "1", "2"]
        assert closed.is_set()


async def test_a_reader_that_waits_makes_send_wait():
    made = 0

    async def source() -> AsyncIterator[str]:
        nonlocal made
        while True:
            made += 1
            yield "x" * 40_000

    async with client_of(app_of(source)) as client:
        async with client.stream("GET", "/") as response:
            chunks = response.aiter_raw()
            await anext(chunks)
            for _ in range(50):
                await asyncio.sleep(0)
            assert made <= 4
            await chunks.aclose()


async def test_the_chunks_arrive_as_they_are_sent():
    gates = [asyncio.Event() for _ in range(3)]

    async def source() -> AsyncIterator[int]:
        for n, gate in enumerate(gates):
            await gate.wait()
            yield n

    async with client_of(app_of(source)) as client:
        gates[0].set()
        async with client.stream("GET", "/") as response:
            events = read_events(response)
            for n, gate in enumerate(gates):
                gate.set()
                assert (await anext(events)).data == str(n)
            assert (await anext(events)).event == "done"


async def test_request_bodies_are_streamed():
    async def echo(request: Request) -> AsyncIterator[str]:
        async for chunk in request.stream():
            if chunk:
                yield chunk.decode()

    async def body():
        yield b"a"
        yield b"b"

    app = FastAPI()
    app.post("/")(dual_mode(echo))
    async with client_of(app) as client:
        response = await client.post("/", content=body())
        assert response.text.count("data:") == 3


async def test_errors_before_the_start_are_raised_or_a_500():
    async def app(scope, receive, send):
        raise KeyError("early")

    async with client_of(app) as client:
        with pytest.raises(KeyError):
            await client.get("/")
    async with client_of(app, raise_app_exceptions=False) as client:
        assert (await client.get("/")).status_code == 500


@pytest.mark.parametrize("raises", [True, False])
async def test_a_response_that_breaks_off_is_an_error_of_the_reader(raises):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        if raises:
            raise KeyError("late")

    async with client_of(app) as client:
        with pytest.raises(httpx.RemoteProtocolError, match="broke off"):
            await client.get("/")


async def test_an_app_that_does_not_end_is_a_timeout_error():
    release = asyncio.Event()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await release.wait()

    async with client_of(app, close_timeout=0.02) as client:
        with pytest.raises(TimeoutError):
            async with client.stream("GET", "/"):
                pass
    release.set()


async def test_the_assertions_say_what_they_found():
    async def two() -> AsyncIterator[int]:
        yield 1
        yield 2

    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ValueError

    async with client_of(app_of(two)) as client, client_of(app_of(broken)) as failing:
        async with client.stream("GET", "/") as response:
            done = await collect_events(response)
        async with failing.stream("GET", "/") as response:
            error = await collect_events(response)
        async with client.stream("GET", "/", headers={"Accept": "application/json"}) as response:
            with pytest.raises(AssertionError, match="not an event stream: 200 application/json"):
                await collect_events(response)
    assert assert_done(done) == [1, 2]
    assert assert_error(error, 500)["title"] == "Internal Server Error"
    with pytest.raises(AssertionError, match="expected `done` after 1 items, but the end is error"):
        assert_done(error)
    with pytest.raises(AssertionError, match="after 0 items, but the end is no event"):
        assert_done([])
    with pytest.raises(AssertionError, match="counts 2 items, but 1 arrived"):
        assert_done(done[1:])
    with pytest.raises(AssertionError, match="expected `error`"):
        assert_error(done)
    with pytest.raises(AssertionError, match="status 404"):
        assert_error(error, 404)


def event(data, name=None, id=None):
    return ServerSentEvent(data=data, event=name, id=id)


HEX = "0" * 32
RESET = event("{}", "reset")


def recorded(*numbers, generation=1):
    return [event(str(n), id=f"{HEX}.{generation}.{n}") for n in numbers]


def end(items, sequence=None):
    return event(f'{{"items":{items}}}', "done", sequence and f"{HEX}.1.{sequence}")


@pytest.mark.parametrize(
    ("events", "items"),
    [
        ([*recorded(3, 4), end(4, 5)], [3, 4]),  # after a cursor, or joined late
        ([*recorded(2, generation=7), end(2, 3)], [2]),  # another worker has gone on
        ([end(4, 5)], []),  # only the end was missing
        ([event("1"), event("2"), RESET, event("1"), end(1)], [1]),
        ([RESET, RESET, event("9", "named"), end(1)], [9]),
        ([*recorded(7), RESET, *recorded(3, 4), end(4, 5)], [3, 4]),  # a gap
        ([*recorded(1, 2), RESET, end(2, 3)], []),
    ],
)
def test_done_counts_what_came_before_a_late_beginning_and_not_what_a_reset_discards(events, items):
    assert assert_done(events) == items


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([*recorded(3), end(4, 5)], f"counts 4 items, but 1 arrived after the 2 before {HEX}.1.3"),
        ([event("1"), RESET, end(1)], "counts 1 items, but 0 arrived"),
        ([event("1"), end(1), RESET], "but the end is reset"),
    ],
)
def test_done_that_counts_wrongly(events, message):
    with pytest.raises(AssertionError, match=message):
        assert_done(events)


async def test_a_real_server_and_clients_that_stall_and_abort():
    closed = asyncio.Queue()

    async def busy() -> AsyncIterator[str]:
        try:
            while True:
                yield "x" * 10_000
        finally:
            closed.put_nowait(1)

    async with serving(app_of(busy)) as url:
        async with RawClient.get(url + "/", receive_buffer=4096) as client:
            await client.until(b"data: ")
            client.abort()
            async with asyncio.timeout(60):
                await closed.get()
        async with RawClient.get(url + "/"):
            pass
        async with asyncio.timeout(60):
            await closed.get()
