"""Two workers on a Redis behind the shipped nginx; one is killed under a browser's EventSource."""

import json
import signal
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from dual_mode_streaming import EventDecoder
from tests.faults.workers import FLAGS, Worker

pytestmark = pytest.mark.full

READ = """
(path) => {
    const read = {seen: [], opened: 0};
    read.source = new EventSource(path);
    read.source.onopen = () => read.opened += 1;
    const keep = (event) => read.seen.push([event.lastEventId, event.data]);
    read.source.onmessage = keep;
    read.source.addEventListener("done", keep);
    (window.reads ||= []).push(read);
}
"""
CLOSED = "reads.every((read) => read.source.readyState === EventSource.CLOSED)"


def test_the_readers_of_a_killed_worker_go_on_at_the_other(
    page, start_service, redis_server, nginx_before
):
    """The chat is made by one worker; two read it, and nginx gives each worker one of them."""
    flags = ("--store", redis_server.url, "--log-level", "error")
    pace = {"DUAL_MODE_LLM_RATE": "6", "DUAL_MODE_LLM_JITTER": "0"}  # so that it is not over then
    with ThreadPoolExecutor() as threads:
        maker, other = threads.map(lambda _: start_service(*flags, **pace), range(2))
    nginx = nginx_before(*(httpx.URL(worker.url).port for worker in (maker, other)))
    question = {"messages": "Tell me of rivers."}
    begun = httpx.post(f"{maker.url}/chat", json=question, headers={"prefer": "respond-async"})
    assert begun.status_code == 202
    path = begun.headers["location"]
    page.goto(f"{nginx.url}/healthz")
    page.evaluate(READ, path)
    page.wait_for_function("reads[0].opened === 1")  # it counts before the next is given a worker
    page.evaluate(READ, path)
    page.wait_for_function("reads.every((read) => read.seen.length >= 10)")
    other.process.send_signal(signal.SIGKILL)
    page.wait_for_function(CLOSED, timeout=60_000)
    assert httpx.get(f"{nginx.url}{path}").status_code == 200
    whole = httpx.get(f"{nginx.url}{path}", headers={"accept": "text/event-stream"})
    expected = [[event.id, event.data] for event in EventDecoder().feed(whole.content)]
    assert len(expected) > 20
    reads = page.evaluate("reads.map(({seen, opened}) => ({seen, opened}))")
    assert [read["seen"] for read in reads] == [expected, expected]
    assert sorted(read["opened"] for read in reads) == [1, 2]  # one had been at the other, and came


def test_a_stream_whose_maker_is_killed_is_made_on_by_the_other(page, redis_server, nginx_before):
    """A recorded GET that can be resumed: the reader comes back to its address, as browsers do."""
    workers = [Worker(redis_server.url, *FLAGS) for _ in range(2)]
    try:
        nginx = nginx_before(*(worker.port for worker in workers))
        page.goto(f"{nginx.url}/made")
        page.evaluate(READ, "/items?seed=3&count=200&pause=0.02&signed=1")
        page.wait_for_function("reads[0].seen.length >= 30")
        maker = json.loads(page.evaluate("reads[0].seen[0][1]"))["by"]
        (killed,) = [worker for worker in workers if worker.pid == maker]
        killed.kill()
        page.wait_for_function(CLOSED, timeout=60_000)
        *items, (_, done) = page.evaluate("reads[0].seen")
    finally:
        for worker in workers:
            worker.kill()
    items = [json.loads(data) for _, data in items]
    assert [item["n"] for item in items] == [*range(200)]
    assert {item["by"] for item in items} == {worker.pid for worker in workers}
    assert json.loads(done) == {"items": 200}
