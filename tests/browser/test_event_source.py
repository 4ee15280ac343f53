"""A plain EventSource in a real browser: a finite stream ends, a feed goes on for ever."""

import asyncio
import socket
import threading
from typing import Annotated

import pytest
from fastapi import FastAPI, Header, HTTPException, Response

from dual_mode_streaming import ServerSentEvent, dual_mode
from dual_mode_streaming.errors import BrokenTransfer

from .conftest import in_thread

SMALLEST = """
([path]) => {
    window.seen = [];
    window.source = new EventSource(path);
    source.onmessage = (event) => seen.push(JSON.parse(event.data));
}
"""


def requests_of(page, path: str) -> list[int]:
    """The statuses of the answers to `path`, as they come in."""
    statuses: list[int] = []
    page.on(
        "response",
        lambda answer: path in answer.url and statuses.append(answer.status),
    )
    return statuses


def test_a_finite_stream_without_a_close_handler_does_not_loop(page, service):
    page.goto(f"{service}/healthz")
    statuses = requests_of(page, "/data")
    with page.expect_response(lambda answer: answer.status == 204):
        page.evaluate(SMALLEST, ["/data?count=3&interval=0"])
    page.wait_for_function("source.readyState === EventSource.CLOSED")  # it never asks again
    assert statuses == [200, 204]
    assert [item["index"] for item in page.evaluate("seen")] == [0, 1, 2]


def test_the_reconnect_shows_the_id_of_the_end(page, service):
    page.goto(f"{service}/healthz")
    with page.expect_response(lambda answer: answer.status == 204) as last:
        page.evaluate(SMALLEST, ["/data?count=1&interval=0"])
    assert last.value.request.all_headers()["last-event-id"].endswith(".end")


def test_the_feed_is_unnamed_messages_with_ids(page, service):
    page.goto(f"{service}/healthz")
    page.evaluate(SMALLEST, ["/events"])
    page.wait_for_function("seen.length >= 3")
    times = [sample["time"] for sample in page.evaluate("seen")]
    assert times == sorted(set(times))
    assert page.evaluate("source.readyState") == 1


def test_ids_beyond_ascii_come_back_as_they_went(page):
    """Each connection breaks when its event is there: a browser drops what it has not read yet."""
    app, shown, arrived = FastAPI(), [], threading.Semaphore(0)

    @app.get("/")
    def empty() -> Response:
        return Response("", media_type="text/html")

    @app.get("/ids")
    @dual_mode
    async def ids(last_event_id: Annotated[str | None, Header()] = None):
        shown.append(last_event_id)
        name = {None: "Zürich", "Zürich": "日本 🎈"}.get(last_event_id)
        if name is None:
            raise HTTPException(204)
        yield ServerSentEvent([name], id=name, retry=1)
        await asyncio.to_thread(arrived.acquire, timeout=60)
        raise BrokenTransfer("so that the browser comes again")

    with in_thread(app) as url:
        page.goto(url)
        page.evaluate(SMALLEST, ["/ids"])
        for events in (1, 2):
            page.wait_for_function("(events) => seen.length === events", arg=events)
            arrived.release()
        page.wait_for_function("source.readyState === EventSource.CLOSED")
        assert page.evaluate("seen") == [["Zürich"], ["日本 🎈"]]
    assert shown == [None, "Zürich", "日本 🎈"]


@pytest.mark.full
def test_a_feed_outlives_its_server(page, start_service):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    first = start_service("--port", port, "--log-level", "warning")
    page.goto(f"{first.url}/healthz")
    page.evaluate(SMALLEST, ["/events"])
    page.wait_for_function("seen.length >= 1")
    assert first.stop() == 0
    page.wait_for_function("source.readyState === EventSource.CONNECTING")
    start_service("--port", port, "--log-level", "warning")
    page.evaluate("seen.length = 0")
    page.wait_for_function("seen.length >= 2")


def test_a_failure_arrives_as_an_error_event_with_data(page, start_service):
    """`event: error` also fires `onerror`; a handler tells them apart by `event.data`."""
    running = start_service("--stream-limit", "0.3", "--log-level", "warning")
    page.goto(f"{running.url}/healthz")
    page.evaluate(
        """() => {
            window.problems = [];
            window.source = new EventSource("/data?count=1000&interval=0.05");
            source.onerror = (event) => {
                if (event.data) { problems.push(JSON.parse(event.data)); source.close(); }
            };
        }"""
    )
    page.wait_for_function("problems.length > 0")
    assert page.evaluate("problems")[0]["status"] == 503
