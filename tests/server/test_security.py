"""What SECURITY.md says, tried: nobody reads another's, nothing a client sends gets anywhere."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import httpx
import pytest
from fastapi import FastAPI

from dual_mode_streaming import EventDecoder, dual_mode, install
from dual_mode_streaming.llm import LLMSettings
from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.settings import Settings
from dual_mode_streaming.testing import StreamingTransport
from tests.web.asgi import get

MINE, OTHER, NONE = {"Authorization": "Bearer mine-key-1"}, {"x-api-key": "other-key-2"}, {}
STREAM = {"Accept": "text/event-stream"}
HELLO = {"messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
async def http():
    settings = Settings(llm={"first": 0, "rate": 0}, api_keys="mine-key-1,other-key-2")
    transport = StreamingTransport(create_app(settings))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def test_another_s_stream_is_as_if_it_were_not(http):
    """Whatever is asked, with whatever key, it is the answer to an id that was never given."""
    mine = (await http.post("/chat", json=HELLO, headers=MINE)).headers["location"]
    nobodys = "/streams/" + "0" * 32
    cursor = f"{mine.rpartition('/')[2]}.1.1"
    asked = [
        ("GET", "", {}),
        ("GET", "", STREAM),
        ("GET", "", {"Accept": "application/jsonl"}),
        ("GET", "", STREAM | {"Last-Event-ID": cursor}),
        ("GET", f"?last_event_id={cursor}", STREAM),
        ("GET", "?from=now", STREAM),
        ("GET", "?on_gap=fail", STREAM),
        ("GET", "", {"If-None-Match": f'"{cursor}"'}),
        ("HEAD", "", {}),
        ("POST", "/cancel", {}),
        ("DELETE", "", {}),
    ]
    for (method, rest, headers), who in itertools.product(asked, (OTHER, NONE)):
        tried, never = [
            await http.request(method, path + rest, headers=headers | who)
            for path in (mine, nobodys)
        ]
        assert tried.status_code == never.status_code in (404, 405), (method, rest, headers)
        same = dict(tried.headers) | {"x-request-id": ""} == dict(never.headers) | {
            "x-request-id": ""
        }
        assert same
        assert tried.content == never.content
    whole = await http.get(mine, headers=MINE | STREAM)
    assert EventDecoder().feed(whole.content)[-1].event == "done", "and it is still there"


async def test_a_cursor_or_an_idempotency_key_leads_to_no_other_s_stream(http):
    claim = {"Idempotency-Key": "the-same"}
    mine = await http.post("/chat", json=HELLO, headers=MINE | claim)
    theirs = await http.post("/chat", json=HELLO, headers=OTHER | claim)
    assert mine.headers["location"] != theirs.headers["location"]
    cursor = f"{mine.headers['location'].rpartition('/')[2]}.1.1"
    shown = await http.post("/chat", json=HELLO, headers=OTHER | STREAM | {"Last-Event-ID": cursor})
    assert shown.headers["location"] != mine.headers["location"]


@pytest.mark.parametrize(
    "sent",
    ["\r\nevent: done", "\n\ndata: forged\n\n", "a\0b", "x" * 5000, "\u2028", "é" * 50, "%0d%0a"],
)
async def test_a_cursor_reaches_no_frame_unescaped(sent):
    """It is told back, as JSON: in the header as bytes may be, and in the query."""
    app = FastAPI()
    install(app)

    @app.get("/")
    @dual_mode(record=True)
    async def one() -> AsyncIterator[int]:
        yield 1

    in_query = {"query": urlencode({"last_event_id": sent})}
    in_header = {"headers": [("last-event-id", sent)]}
    for shown in (in_query, in_header):
        answer = await get(app, **shown)
        if len(sent) > 1024:
            assert (answer.status, json.loads(answer.body)["status"]) == (400, 400)
            continue
        reset, item, done = answer.events
        assert (reset.event, item.data, done.event) == ("reset", "1", "done")
        assert json.loads(reset.data) == {"reason": "not_recorded", "requested": sent[:200]}
        assert done.id == f"{answer.headers['location'].rpartition('/')[2]}.1.2"
        again = await get(app, answer.headers["location"], **shown)
        assert (again.status, json.loads(again.body)["title"]) == (400, "Bad Request")


async def test_cors_is_off(http):
    origin = {"Origin": "https://evil.example"}
    for method, path in [("GET", "/data?count=1"), ("OPTIONS", "/chat"), ("POST", "/chat")]:
        preflight = {"Access-Control-Request-Method": "POST"} if method == "OPTIONS" else {}
        answer = await http.request(method, path, headers=origin | preflight)
        assert "access-control-allow-origin" not in answer.headers
        assert "access-control-allow-credentials" not in answer.headers
        assert "set-cookie" not in answer.headers


async def test_an_error_tells_nothing_of_a_key(http):
    secret = "sk-verysecret"
    asked = [
        http.post("/chat", json=HELLO, headers={"Authorization": f"Bearer {secret}"}),
        http.post("/v1/messages", json={}, headers={"x-api-key": secret}),
        http.get("/streams/" + "1" * 32, headers={"x-api-key": secret}),
        http.post("/tokens", json={"path": secret}, headers=MINE),
    ]
    for answer in await asyncio.gather(*asked):
        assert answer.status_code in (401, 404, 422)
        assert secret not in answer.text
        assert secret not in str(answer.headers)


async def test_a_body_that_is_too_large_is_refused_and_not_read():
    app = create_app(Settings(body_limit=1000, llm=LLMSettings(body_limit=1000)))
    transport = StreamingTransport(app)
    read = 0

    async def endless():
        nonlocal read
        while True:
            read += 1
            yield b"x" * 500

    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        for path in ("/chat", "/tokens", "/v1/chat/completions"):
            read = 0
            answer = await http.post(path, content=endless())
            assert answer.status_code == 413, path
            assert read < 10
            declared = await http.post(path, content=b"x" * 1001)
            assert declared.status_code == 413, path


async def test_invalid_keys_raise_no_limit():
    """They would be one each, for who has none: what counts is the address."""
    settings = Settings(llm={"rate": 0, "first": 0}, client_streams=2, api_keys="mine-key-1")
    transport = StreamingTransport(create_app(settings))
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://test") as http,
        contextlib.AsyncExitStack() as open_streams,
    ):
        url = "/data?count=2&interval=3600"
        for number in range(4):
            made_up = {"Authorization": f"Bearer {number}", "x-api-key": f"other {number}"}
            answer = await open_streams.enter_async_context(
                http.stream("GET", url, headers=STREAM | made_up)
            )
            assert answer.status_code == (200 if number < 2 else 429)
        mine = http.stream("GET", url, headers=STREAM | MINE)
        assert (await open_streams.enter_async_context(mine)).status_code == 200


async def test_the_owner_is_the_key_that_was_checked(http):
    both = {"Authorization": "Bearer", "x-api-key": "mine-key-1"}
    path = (await http.post("/chat", json=HELLO, headers=both)).headers["location"]
    for who in (NONE, OTHER, {"x-api-key": "withdrawn"}):
        assert (await http.get(path, headers=STREAM | who)).status_code == 404
    for who in (MINE, both):
        assert (await http.get(path, headers=STREAM | who)).status_code == 200


@pytest.mark.parametrize("name", ["m\nINFO: forged", "m\u2028", "x" * 201, "a b", "\u001b[31m"])
async def test_a_model_s_name_that_a_log_should_not_have_is_refused(http, caplog, name):
    caplog.set_level("INFO")
    for path, status in (("/chat", 422), ("/v1/chat/completions", 400), ("/v1/messages", 400)):
        body = {"model": name, "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
        answer = await http.post(path, json=body, headers=MINE)
        assert answer.status_code == status, answer.text
    assert not [record for record in caplog.records if name in record.getMessage()]


async def test_what_a_store_says_of_itself_is_for_the_log(caplog):
    app = create_app(Settings(store="redis://user:hidden@127.0.0.1:1/0"))
    async with httpx.AsyncClient(transport=StreamingTransport(app), base_url="http://test") as http:
        answer = await http.get("/streams/" + "0" * 32)
    assert answer.status_code == 503
    assert "127.0.0.1" not in answer.text
    assert "127.0.0.1:1" in caplog.text
    assert "hidden" not in answer.text + caplog.text


@pytest.mark.parametrize("keys", [(), ("mine-key-1",)])
async def test_the_document_names_the_keys_where_one_is_needed(keys):
    app = create_app(Settings(api_keys=keys))
    async with httpx.AsyncClient(transport=StreamingTransport(app), base_url="http://test") as http:
        for profile in ("3.1", "3.2"):
            document = (await http.get(f"/openapi.json?profile={profile}")).json()
            schemes = document["components"].get("securitySchemes", {})
            assert sorted(schemes) == (["APIKeyHeader", "HTTPBearer"] if keys else [])
            named = {p: "security" in next(iter(o.values())) for p, o in document["paths"].items()}
            assert named["/chat"] is named["/agui"] is named["/streams/{stream}"] is bool(keys)
            assert not named["/data"]
            assert not named["/healthz"]


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/agui", "GET, HEAD, POST"),
        ("/ui/chat", "POST"),
        ("/channels/x", "DELETE, GET, HEAD, POST, PUT"),
        ("/streams/" + "0" * 32, "DELETE, GET, HEAD"),
    ],
)
async def test_a_405_names_all_methods_of_a_path(http, path, methods):
    answer = await http.patch(path, headers=MINE)
    assert (answer.status_code, answer.headers["allow"]) == (405, methods)
