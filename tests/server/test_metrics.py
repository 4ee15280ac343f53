"""`GET /metrics`: the metrics of the service."""

import asyncio
import contextlib
import time

import httpx
import psutil
import pytest

from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.settings import Settings
from dual_mode_streaming.testing import StreamingTransport

HELLO = {"model": "simulator", "messages": [{"role": "user", "content": "Hello"}]}


async def samples_of(http):
    """The samples, by name and labels."""
    response = await http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    lines = [line for line in response.text.splitlines() if line.startswith("dual_mode_")]
    return {
        name: float(value)
        for name, value in (line.rsplit(" ", 1) for line in lines)
        if "_created" not in name
    }


@pytest.fixture
async def http():
    transport = StreamingTransport(create_app(Settings(llm={"first": 0, "rate": 0})))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def test_the_tokens_of_an_answer_are_counted(http):
    answer = await http.post("/v1/chat/completions", json=HELLO)
    usage = answer.json()["usage"]
    labels = 'model="simulator",provider="simulator"'
    samples = await samples_of(http)
    key = f'dual_mode_llm_tokens_total{{direction="%s",{labels}}}'
    assert samples[key % "input"] == usage["prompt_tokens"]
    assert samples[key % "output"] == usage["completion_tokens"]
    ended = 'dual_mode_llm_calls_total{model="simulator",outcome="stop",provider="simulator"}'
    assert samples[ended] == 1


async def test_so_are_those_of_one_that_its_reader_left():
    app = create_app(Settings(llm={"first": 0, "rate": 20}))
    transport = StreamingTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        asked = {**HELLO, "stream": True}
        async with http.stream("POST", "/v1/chat/completions", json=asked) as response:
            async for line in response.aiter_lines():
                if "said" in line:
                    break
        samples = await samples_of(http)
    labels = 'model="simulator",provider="simulator"'
    assert samples[f'dual_mode_llm_tokens_total{{direction="output",{labels}}}'] == 2
    assert samples[f'dual_mode_llm_tokens_total{{direction="input",{labels}}}'] > 0
    ended = 'dual_mode_llm_calls_total{model="simulator",outcome="abandoned",provider="simulator"}'
    assert samples[ended] == 1


async def test_a_models_name_that_a_client_made_up_is_not_kept(http):
    for number in range(3):
        answer = await http.post("/v1/chat/completions", json={**HELLO, "model": f"x{number}"})
        assert answer.status_code == 404
    samples = await samples_of(http)
    assert not [name for name in samples if "x1" in name]
    assert sum(value for name, value in samples.items() if "not_found" in name) == 3


async def test_answers_at_once_are_all_counted(http):
    await asyncio.gather(*(http.post("/v1/chat/completions", json=HELLO) for _ in range(10)))
    samples = await samples_of(http)
    assert sum(value for name, value in samples.items() if "calls_total" in name) == 10


async def test_the_answers_of_the_service_are_counted():
    app = create_app(Settings())
    transport = StreamingTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        await http.get("/data?count=3&interval=0&stream=true")
        samples = await samples_of(http)
    labels = 'mode="stream",route="/data"'
    assert samples[f"dual_mode_events_sent_total{{{labels}}}"] == 3
    assert samples[f"dual_mode_streams_open{{{labels}}}"] == 0
    assert samples['dual_mode_queue_depth{queue="events"}'] == 0


@pytest.mark.full
def test_several_workers_are_scraped_as_one_without_the_dead(start_service, tmp_path):
    running = start_service("--workers", "2", "--store", f"sqlite:{tmp_path}/streams.db")
    stream = {"Accept": "text/event-stream"}
    open_now = 'dual_mode_streams_open{mode="stream",route="/data"}'

    def sample(name: str) -> float:
        lines = httpx.get(f"{running.url}/metrics", timeout=60).text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    chunks = []
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            asked = f"{running.url}/data?count=2&interval=3600"
            answer = stack.enter_context(httpx.stream("GET", asked, headers=stream, timeout=60))
            chunks.append(answer.iter_raw())
            assert next(chunks[-1])
        deadline = time.monotonic() + 60  # each worker hands its figures on every five seconds
        while sample(open_now) < 8 or sample("dual_mode_events_sent_total") < 8:
            assert time.monotonic() < deadline
        assert sample(open_now) == sample("dual_mode_events_sent_total") == 8
        children = psutil.Process(running.process.pid).children()
        workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        assert len(workers) == 2
        held = {len(worker.net_connections()): worker for worker in workers}
        held[max(held)].kill()
        deadline = time.monotonic() + 60
        while not 0 <= sample(open_now) < 8:
            assert time.monotonic() < deadline
        assert sample("dual_mode_events_sent_total") == 8, "what was counted stays counted"
