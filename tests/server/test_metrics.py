"""`GET /metrics`: what Prometheus is told."""

import asyncio

import httpx
import pytest

from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.settings import Settings
from dual_mode_streaming.testing import StreamingTransport

HELLO = {"model": "simulator", "messages": [{"role": "user", "content": "Hello"}]}


async def told(http):
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
    transport = StreamingTransport(create_app(Settings(llm_first=0, llm_rate=0)))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def test_the_tokens_of_an_answer_are_counted(http):
    answer = await http.post("/v1/chat/completions", json=HELLO)
    usage = answer.json()["usage"]
    labels = 'model="simulator",provider="simulator"'
    samples = await told(http)
    key = f'dual_mode_llm_tokens_total{{direction="%s",{labels}}}'
    assert samples[key % "input"] == usage["prompt_tokens"]
    assert samples[key % "output"] == usage["completion_tokens"]
    ended = 'dual_mode_llm_calls_total{model="simulator",outcome="stop",provider="simulator"}'
    assert samples[ended] == 1


async def test_so_are_those_of_one_that_its_reader_left():
    app = create_app(Settings(llm_first=0, llm_rate=20))
    transport = StreamingTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        asked = {**HELLO, "stream": True}
        async with http.stream("POST", "/v1/chat/completions", json=asked) as response:
            async for line in response.aiter_lines():
                if "said" in line:
                    break
        samples = await told(http)
    labels = 'model="simulator",provider="simulator"'
    assert samples[f'dual_mode_llm_tokens_total{{direction="output",{labels}}}'] == 2
    assert samples[f'dual_mode_llm_tokens_total{{direction="input",{labels}}}'] > 0
    ended = 'dual_mode_llm_calls_total{model="simulator",outcome="abandoned",provider="simulator"}'
    assert samples[ended] == 1


async def test_a_models_name_that_a_client_made_up_is_not_kept(http):
    for number in range(3):
        answer = await http.post("/v1/chat/completions", json={**HELLO, "model": f"x{number}"})
        assert answer.status_code == 404
    samples = await told(http)
    assert not [name for name in samples if "x1" in name]
    assert sum(value for name, value in samples.items() if "not_found" in name) == 3


async def test_answers_at_once_are_all_counted(http):
    await asyncio.gather(*(http.post("/v1/chat/completions", json=HELLO) for _ in range(10)))
    samples = await told(http)
    assert sum(value for name, value in samples.items() if "calls_total" in name) == 10
