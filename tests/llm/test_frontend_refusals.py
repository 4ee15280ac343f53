"""Refusals of endpoints with a wire format, wherever they come from, are in that format."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException, Query
from fastapi.exceptions import RequestValidationError
from starlette.responses import PlainTextResponse

from dual_mode_streaming import Problem, dual_mode, install
from dual_mode_streaming.limits import Admission, guarded_route
from dual_mode_streaming.llm import StreamEvent
from dual_mode_streaming.llm.wire import (
    AGUI,
    AGUIRun,
    AnthropicMessages,
    OpenAIChat,
    UIChat,
    UIMessageStream,
)
from dual_mode_streaming.testing import serving

from .test_frontends import END, text, ui

RUN = {"threadId": "t", "runId": "r", "messages": [{"id": "u", "role": "user", "content": "Hi"}]}
STATUSES = [401, 402, 403, 404, 409, 413, 415, 422, 423, 429, 500, 503]


async def refused(kind: Annotated[str, Header()] = "", status: Annotated[int, Header()] = 0):
    """A dependency, as one that checks a key: what it raises is what FastAPI's users raise."""
    headers = {"www-authenticate": "Bearer", "retry-after": "7"}
    if kind == "http":
        raise HTTPException(status, "not for you", headers)
    if kind == "problem":
        raise Problem(status, "not for you", headers=headers, secret_member="x")
    if kind == "object":
        raise HTTPException(status, {"why": "not for you"}, headers)


def app_of(prefix="", **options):
    app = FastAPI()
    install(app, signals=False, body_values=1000, **options)

    async def words() -> AsyncIterator[StreamEvent]:
        yield text("Hi")
        yield END

    @dual_mode(wire=UIMessageStream(), record=True)
    def chat(body: UIChat, count: Annotated[int, Query(ge=0)] = 0) -> AsyncIterator[StreamEvent]:
        return words()

    @dual_mode(wire=UIMessageStream())
    def plain(body: UIChat, count: Annotated[int, Query(ge=0)] = 0) -> AsyncIterator[StreamEvent]:
        return words()

    @dual_mode(wire=AGUI(), record=True)
    def agui(body: AGUIRun, count: Annotated[int, Query(ge=0)] = 0) -> AsyncIterator[StreamEvent]:
        return words()

    guard = [Depends(refused)]
    app.post("/chat", dependencies=guard)(chat)
    app.get("/chat/{chat_id}/stream", dependencies=guard)(chat.resume)
    app.post("/chat/{chat_id}/stop", dependencies=guard)(chat.stop)
    app.post("/plain", dependencies=guard)(plain)
    app.post("/agui", dependencies=guard)(agui)
    app.get("/agui", dependencies=guard)(agui.resume)
    app.post("/agui/{runId}/stop", dependencies=guard)(agui.stop)
    for path, wire in (("/openai", OpenAIChat()), ("/anthropic", AnthropicMessages())):

        @app.post(path, dependencies=guard)
        @dual_mode(wire=wire)
        def model(
            body: dict[str, Any], count: Annotated[int, Query(ge=0)] = 0
        ) -> AsyncIterator[Any]:
            return words()

    return app


@contextlib.asynccontextmanager
async def client_of(app):
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield client


@pytest.fixture
async def client():
    async with client_of(app_of()) as client:
        yield client


def said(answer):
    """The text of a refusal, in whichever format."""
    if answer.headers["content-type"].startswith("text/plain"):
        return answer.text
    body = answer.json()
    return body["message"] if "message" in body else body["error"]["message"]


TARGETS = [
    ("POST", "/chat", "text/plain"),
    ("GET", "/chat/c/stream", "text/plain"),
    ("POST", "/chat/c/stop", "text/plain"),
    ("POST", "/plain", "text/plain"),
    ("POST", "/agui", "application/json"),
    ("GET", "/agui?runId=r", "application/json"),
    ("POST", "/agui/r/stop", "application/json"),
    ("POST", "/openai", "application/json"),
    ("POST", "/anthropic", "application/json"),
]


@pytest.mark.parametrize("kind", ["http", "problem"])
@pytest.mark.parametrize(("method", "path", "media"), TARGETS)
async def test_what_a_dependency_raises(client, method, path, media, kind):
    for status in STATUSES:
        headers = {"kind": kind, "status": str(status)}
        body = {"json": ui() | RUN} if method == "POST" else {}
        answer = await client.request(method, path, headers=headers, **body)
        assert answer.status_code == status
        assert answer.headers["content-type"].startswith(media)
        assert said(answer) == "not for you"
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["retry-after"] == "7"
        if path == "/agui":
            assert answer.json()["type"] == "RUN_ERROR"


@pytest.mark.parametrize("path", ["/chat", "/plain", "/agui"])
async def test_a_wrong_body_says_where_and_why_without_the_input(client, path):
    answer = await client.post(f"{path}?count=-1", json={"id": 31337, "threadId": 31337})
    assert answer.status_code == 422
    assert "count: " in said(answer)
    assert "messages: Field required" in said(answer)
    assert "31337" not in answer.text
    answer = await client.post(path, content=b"{", headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert said(answer)
    answer = await client.post(path, json=ui() | RUN | {"more": [[]] * 2000})
    assert answer.status_code == 413
    assert said(answer)


async def test_an_http_exception_with_an_object_is_still_told(client):
    answer = await client.post("/agui", json=RUN, headers={"kind": "object", "status": "403"})
    assert (answer.status_code, answer.json()["type"]) == (403, "RUN_ERROR")


@pytest.mark.parametrize("path", ["/chat?stream=true", "/chat"])
async def test_other_forms_keep_theirs(client, path):
    accept = {"accept": "application/json"} if path == "/chat" else {}
    answer = await client.post(path, json={}, headers=accept)
    assert answer.json()["detail"][0]["msg"] == "Field required"


async def test_a_handler_of_the_app_wins():
    app = app_of()
    app.add_exception_handler(RequestValidationError, lambda *_: PlainTextResponse("mine", 418))
    async with client_of(app) as client:
        answer = await client.post("/agui", json={})
    assert (answer.status_code, answer.text) == (418, "mine")


async def test_a_key_and_a_limit_of_an_admission():
    admission = Admission(keys=["a-long-key"], key_requests_a_minute=1)
    app = FastAPI()
    install(app, signals=False, admission=admission)
    app.router.route_class = guarded_route(admission.check)

    @app.post("/agui")
    @dual_mode(wire=AGUI(), record=True)
    async def agui(body: AGUIRun) -> AsyncIterator[str]:
        yield "Hi"

    key = {"authorization": "Bearer a-long-key"}
    async with client_of(app) as client:
        answers = [await client.post("/agui", json=RUN, headers=sent) for sent in ({}, key, key)]
    assert [answer.status_code for answer in answers] == [401, 200, 429]
    assert [answers[n].json()["type"] for n in (0, 2)] == ["RUN_ERROR"] * 2
    assert answers[2].headers["retry-after"]


async def test_the_batch_has_no_null_fields(client):
    answer = await client.post("/chat", json=ui(), headers={"accept": "application/json"})
    assert answer.json()["data"][0] == {"type": "text_delta", "text_delta": {"content": "Hi"}}
    assert "null" not in answer.text
    plain = await client.post("/plain?stream=true", json=ui())
    items = [json.loads(line[6:]) for line in plain.text.splitlines() if "data: {" in line]
    assert items[:-1] == answer.json()["data"]


@pytest.mark.parametrize("name", ["resume", "stop"])
@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"wire": UIMessageStream()}, "needs record=True"),
        ({"record": True}, "is for a wire format"),
        ({}, "is for a wire format"),
        ({"wire": OpenAIChat(), "record": True}, "answers of OpenAIChat have no key"),
    ],
)
def test_a_route_to_an_operation_that_is_not_there_is_an_error(options, why, name):
    @dual_mode(**options)
    async def chat(body: UIChat) -> AsyncIterator[str]:
        yield "Hi"

    operation = getattr(chat, name)
    for use in (FastAPI().get("/chat/{chat_id}"), lambda operation: operation()):
        with pytest.raises(TypeError, match=rf"chat\.{name} .*{why}"):
            use(operation)


async def test_an_endpoint_of_others_may_have_a_wire_of_its_own():
    class Endpoint:
        wire = "copper"

        async def __call__(self) -> None:
            raise HTTPException(401, "no")

    app = FastAPI()
    install(app)
    app.get("/")(Endpoint())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a") as client:
        assert (await client.get("/")).status_code == 401
