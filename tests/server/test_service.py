"""The service as its users meet it: a real process, asked over real sockets."""

import asyncio
import json
import subprocess
import time
from contextlib import aclosing

import httpx
import pytest

from dual_mode_streaming import EventDecoder
from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.feed import HostFeed
from dual_mode_streaming.server.settings import Settings
from dual_mode_streaming.web.lifecycle import drain

from ..needs import program
from .service import serving

THREE = [{"index": n, "message": f"Item {n + 1} of 3"} for n in range(3)]


def curl(*arguments: str) -> str:
    command = (program("curl"), "-sS", "--max-time", "20", *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_curl_gets_the_same_three_items_in_every_mode(service):
    url = f"{service.url}/data?count=3&interval=0"
    assert json.loads(curl(url)) == {"data": THREE}
    lines = curl("-N", "-H", "Accept: application/jsonl", url).splitlines()
    assert [json.loads(line) for line in lines] == THREE
    frames = EventDecoder().feed(curl("-N", "-H", "Accept: text/event-stream", url).encode())
    assert [json.loads(frame.data) for frame in frames[:-1]] == THREE
    assert [frame.event for frame in frames] == [None, None, None, "done"]
    assert json.loads(frames[-1].data) == {"items": 3}


@pytest.mark.parametrize(
    ("flag", "accept", "media_type"),
    [
        ("true", "application/json", "text/event-stream"),
        ("false", "text/event-stream", "application/json"),
        (None, "*/*", "application/json"),
    ],
)
def test_the_flag_wins_over_accept(service, flag, accept, media_type):
    query = {"count": "1", "interval": "0"} | ({"stream": flag} if flag else {})
    answer = httpx.get(f"{service.url}/data", params=query, headers={"Accept": accept})
    assert answer.headers["content-type"].split(";")[0] == media_type
    assert "Accept" in answer.headers["vary"]


@pytest.mark.parametrize(
    "query",
    [
        "count=-1",
        "count=1000000001",
        "count=1.5",
        "count=",
        "interval=-1",
        "interval=nan",
        "interval=inf",
        "interval=1e9",
        "stream=perhaps",
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_a_question_out_of_range_is_a_422_in_every_mode(service, query, accept):
    answer = httpx.get(f"{service.url}/data?{query}", headers={"Accept": accept})
    assert answer.status_code == 422
    assert answer.json()["detail"]


def test_no_items_are_an_empty_answer_and_no_error(service):
    url = f"{service.url}/data?count=0"
    assert httpx.get(url).json() == {"data": []}
    assert httpx.get(url, headers={"Accept": "application/jsonl"}).content == b""
    answer = httpx.get(url, headers={"Accept": "text/event-stream"})
    assert [event.event for event in EventDecoder().feed(answer.content)] == ["done"]


def test_nothing_acceptable_is_a_406_that_lists_what_there_is(service):
    answer = httpx.get(f"{service.url}/data", headers={"Accept": "image/png"})
    assert answer.status_code == 406
    assert answer.headers["content-type"] == "application/problem+json"
    assert "text/event-stream" in answer.text
    assert "Accept" in answer.headers["vary"]


def test_items_leave_when_they_are_made(service):
    """Three items, a long pause between them: the first is here long before the second is due."""
    url = f"{service.url}/data?count=2&interval=30"
    with httpx.stream("GET", url, headers={"Accept": "application/jsonl"}) as answer:
        assert json.loads(next(answer.iter_lines()))["index"] == 0


def test_a_huge_count_streams_in_bounded_memory():
    with serving() as service:
        httpx.get(f"{service.url}/data?count=1000&interval=0")
        before, received = service.memory, 0
        url = f"{service.url}/data?count=1000000000&interval=0"
        with httpx.stream("GET", url, headers={"Accept": "text/event-stream"}) as answer:
            for chunk in answer.iter_raw():
                received += len(chunk)
                if received > 20_000_000:
                    break
        assert service.memory - before < 20_000_000


def test_a_huge_batch_is_a_problem_that_names_the_stream_as_the_way(service):
    answer = httpx.get(f"{service.url}/data?count=1000000000&interval=0", timeout=30)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert "stream" in answer.json()["detail"]


def test_a_stream_limit_ends_every_stream():
    with serving("--stream-limit", "0.3") as service:
        url = f"{service.url}/data?count=1000000000&interval=0.05"
        answer = httpx.get(url, headers={"Accept": "text/event-stream"}, timeout=20)
        last = EventDecoder().feed(answer.content)[-1]
        assert last.event == "error"
        assert json.loads(last.data)["status"] == 503
        feed = httpx.get(f"{service.url}/events", headers={"Accept": "text/event-stream"})
        assert {event.event for event in EventDecoder().feed(feed.content)} == {None}


def test_the_feed_has_an_unnamed_event_a_second_with_this_hosts_figures(service):
    decoder, events, began = EventDecoder(), [], time.monotonic()
    with httpx.stream(
        "GET", f"{service.url}/events", headers={"Accept": "text/event-stream"}
    ) as answer:
        for chunk in answer.iter_raw():
            events += [event for event in decoder.feed(chunk) if event.data]
            if len(events) >= 3:
                break
    assert time.monotonic() - began < 4
    assert {event.event for event in events} == {None}
    assert len({event.id for event in events}) == len(events)
    sample = json.loads(events[-1].data)
    assert 0 <= sample["cpu_percent"] <= 100
    assert 0 < sample["memory_percent"] <= 100
    assert sample["network_received_bytes_per_second"] >= 0
    assert abs(sample["time"] - time.time()) < 5


def test_the_batch_answer_of_the_feed_is_its_newest_sample(service):
    sample = httpx.get(f"{service.url}/events", timeout=10).json()["sample"]
    assert abs(sample["time"] - time.time()) < 5


async def test_one_sampler_serves_all_readers_and_ends_with_the_last():
    feed, tasks = HostFeed(), len(asyncio.all_tasks())
    one, two = feed.read(), feed.read()
    async with aclosing(one), aclosing(two):
        first, second = await asyncio.gather(anext(one), anext(two))
        assert first is second
        assert len(asyncio.all_tasks()) == tasks + 1
        await one.aclose()
        assert (await anext(two)) is not first
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == tasks
    async with aclosing(feed.read()) as again:
        assert (await anext(again)) is not first


def test_health_readiness_page_and_docs(service):
    assert httpx.get(f"{service.url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{service.url}/readyz").json() == {"status": "ok"}
    page = httpx.get(service.url)
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text.replace("http://www.w3.org", ""), "the page loads from afar"
    assert httpx.get(f"{service.url}/docs").status_code == 200


def test_the_document_shows_both_modes(service):
    document = httpx.get(f"{service.url}/openapi.json").json()
    assert document["openapi"].startswith("3.2")
    for path in ("/data", "/events"):
        content = document["paths"][path]["get"]["responses"]["200"]["content"]
        assert "schema" in content["application/json"]
        assert "itemSchema" in content["text/event-stream"]


async def test_a_draining_service_is_not_ready_but_alive():
    app = create_app(Settings())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        assert (await client.get("/readyz")).status_code == 200
        await drain(app)
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200
