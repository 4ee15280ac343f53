"""`POST /chat`: the query's flag, else the body's, else Accept; and one answer in every mode."""

import httpx
import pytest

from dual_mode_streaming.llm import StreamEvent, fold
from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.settings import Settings
from dual_mode_streaming.testing import (
    StreamingTransport,
    assert_done,
    assert_error,
    collect_events,
    read_events,
)

STREAM = {"accept": "text/event-stream"}
LIMITED = {"messages": "limited"}
SCRIPT = """
[[reply]]
match = "limited"
failure = { status = 429, retry_after = 99 }

[[reply]]
match = "breaks"
text = "one two three"
failure = { after_tokens = 2 }
"""


@pytest.fixture
async def client(tmp_path):
    (tmp_path / "script.toml").write_text(SCRIPT)
    script = tmp_path / "script.toml"
    app = create_app(Settings(llm={"first": 0, "rate": 0, "script": script}))
    transport = StreamingTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as made:
        yield made


async def events_of(client, body, query="", headers=None):
    async with client.stream("POST", f"/chat{query}", json=body, headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        return await collect_events(response)


async def test_the_stream_folds_to_the_batch(client):
    body = {"messages": "Hello", "thinking": True}
    batch = await client.post("/chat", json=body)
    assert batch.headers["content-type"] == "application/json"
    events = assert_done(await events_of(client, body, headers=STREAM))
    folded = fold([StreamEvent.model_validate(event) for event in events])
    assert folded == StreamEvent.model_validate(batch.json())
    assert batch.json()["message"]["content"].startswith("You said: Hello")
    assert "error" not in batch.json()
    lines = await client.post("/chat", json=body, headers={"accept": "application/jsonl"})
    assert len(lines.text.splitlines()) == len(events)


@pytest.mark.parametrize(
    ("query", "in_body", "accept", "streams"),
    [
        ("", None, None, False),
        ("", None, "text/event-stream", True),
        ("", True, None, True),
        ("", False, "text/event-stream", False),
        ("?stream=true", False, "application/json", True),
        ("?stream=false", True, "text/event-stream", False),
    ],
)
async def test_which_wish_counts(client, query, in_body, accept, streams):
    body = {"messages": "Hello", "stream": in_body}
    headers = {} if accept is None else {"accept": accept}
    response = await client.post(f"/chat{query}", json=body, headers=headers)
    assert response.status_code == 200
    assert (response.headers["content-type"] != "application/json") is streams


async def test_failures_are_failures_in_every_mode(client):
    for headers in (STREAM, {}):
        response = await client.post("/chat", json={"messages": "limited"}, headers=headers)
        assert (response.status_code, response.headers["retry-after"]) == (429, "99")
        bad = await client.post("/chat", json={"messages": []}, headers=headers)
        assert bad.status_code == 422
    events = await events_of(client, {"messages": "breaks"}, headers=STREAM)
    assert [event.event for event in events] == [None, None, "error"]
    assert assert_error(events, 529)["detail"] == "a failure on purpose"
    assert (await client.post("/chat", json={"messages": "breaks"})).status_code == 529


async def test_a_limit_that_the_model_reports_after_the_commit_ends_the_reader(tmp_path):
    (tmp_path / "script.toml").write_text(SCRIPT)
    llm = {"first": 0, "rate": 0, "script": tmp_path / "script.toml"}
    transport = StreamingTransport(create_app(Settings(llm=llm, grace=0)))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        async with http.stream("POST", "/chat", json=LIMITED, headers=STREAM) as response:
            assert response.status_code == 200
            events = await collect_events(response)
        problem = assert_error(events, 429)
        assert problem["retry_after"] == "99"
        shown = {**STREAM, "last-event-id": events[-1].id}
        again = await http.post("/chat", json=LIMITED, headers=shown)
        assert (again.status_code, again.content) == (204, b"")
        assert (await http.get(response.headers["location"], headers=shown)).status_code == 204
        assert (await http.post("/chat", json=LIMITED)).headers["retry-after"] == "99"


async def test_an_answer_counts_as_long_as_the_model_works_and_not_only_while_it_is_read():
    app = create_app(Settings(llm={"first": 0, "rate": 20}, key_streams=1))
    transport = StreamingTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        body = {"messages": "Hello", "stream": True}
        async with http.stream("POST", "/chat", json=body) as response:
            url = response.headers["location"]
            await anext(read_events(response))
        assert (await http.post("/chat", json=body)).status_code == 429
        assert (await http.post(f"{url}/cancel")).json()["state"] == "cancelled"
        async with http.stream("POST", "/chat", json=body) as response:
            assert response.status_code == 200
            assert (await http.post(f"{response.headers['location']}/cancel")).status_code == 200


async def test_an_answer_can_be_come_back_to(client):
    body = {"messages": "Hello", "stream": True}
    async with client.stream("POST", "/chat", json=body) as response:
        url = response.headers["location"]
        events = await collect_events(response)
    async with client.stream(
        "GET", url, headers={**STREAM, "last-event-id": events[4].id}
    ) as response:
        assert await collect_events(response) == events[5:]
    batch = await client.get(url)
    folded = fold([StreamEvent.model_validate_json(event.data) for event in events[:-1]])
    assert StreamEvent.model_validate(batch.json()) == folded


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages": NaN}',
        b'{"messages": "Hi", "seed": Infinity}',
        b'{"messages": "Hi", "\\ud800": 1}',
        b'{"messages": [{"role": "\\ud800", "content": "hunter2"}]}',
        b'{"messages": "\\ud800"}',
        b'{"messages": "Hi", "stop": ["\\ud800"]}',
        b'{"messages": "Hi", "tools": [{"name": "f", "parameters": {"a": "\\ud800"}}]}',
    ],
)
def test_a_refusal_of_what_json_does_not_have_repeats_nothing_of_it(service, body):
    """Python's parser lets it in; FastAPI's refusal would be a 500."""
    refused = httpx.post(
        f"{service}/chat", content=body, headers={"content-type": "application/json"}
    )
    assert refused.status_code == 422
    assert {"type", "loc", "msg"} == set(refused.json()["detail"][0])
    assert "hunter2" not in refused.text
