"""The background tasks of a dependency run after every answer of the LLM routes."""

import httpx
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI

from dual_mode_streaming.llm import LLMClient, Simulator, llm_routes
from dual_mode_streaming.testing import StreamingTransport

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/chat/completions", {"model": "simulator", "messages": HELLO}, 200),
        ("/v1/chat/completions", {"model": "simulator", "messages": HELLO, "stream": True}, 200),
        ("/v1/messages/count_tokens", {"model": "simulator", "messages": HELLO}, 200),
        ("/v1/chat/completions", {"model": 7}, 400),
    ],
    ids=["batch", "stream", "count", "refusal"],
)
async def test_the_background_tasks_of_a_dependency_run(path, body, status):
    done = []

    def later(tasks: BackgroundTasks) -> None:
        tasks.add_task(done.append, path)

    app = FastAPI()
    client = LLMClient(Simulator())
    app.include_router(llm_routes(client), dependencies=[Depends(later)])
    transport = StreamingTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        answer = await http.post(path, json=body)
    assert (answer.status_code, done) == (status, [path])
