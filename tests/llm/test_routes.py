"""The routes under /v1 besides their answers: models, unknown paths, compressed bodies, loops."""

import gzip
import json
import sys
import zlib
from urllib.parse import unquote

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from dual_mode_streaming import install
from dual_mode_streaming.llm import (
    ChatRequest,
    Failure,
    LLMClient,
    Reply,
    Script,
    Simulator,
    collect,
    llm_routes,
)
from dual_mode_streaming.llm.providers import AnthropicProvider, OpenAIProvider
from dual_mode_streaming.testing import StreamingTransport, serving

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdCompressor
    from compression.zstd import compress as zstd
else:
    from backports.zstd import ZstdCompressor
    from backports.zstd import compress as zstd

BODY = {"model": "simulator", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}
ANTHROPIC = {"anthropic-version": "2026-10-21"}


def client_of(app):
    return httpx.AsyncClient(transport=StreamingTransport(app), base_url="http://test")


@pytest.fixture
async def http():
    app = FastAPI()
    app.include_router(llm_routes(LLMClient(Simulator()), body_limit=2000))

    @app.get("/v1/things/{name}")
    def thing(name: str) -> str:
        return name

    async with client_of(app) as http:
        yield http


@pytest.mark.parametrize("any_model", [False, True])
async def test_a_model_is_there_or_is_not(any_model):
    app = FastAPI()
    app.include_router(llm_routes(LLMClient(Simulator(any_model=any_model))))
    async with client_of(app) as http:
        for headers, kind in (({}, "object"), (ANTHROPIC, "type")):
            found = await http.get("/v1/models/simulator", headers=headers)
            assert (found.json()["id"], found.json()[kind]) == ("simulator", "model")
            other = await http.get("/v1/models/vendor/gpt-9", headers=headers)
            assert other.status_code == (200 if any_model else 404)
            asked = await http.post("/v1/messages", json={**BODY, "model": "gpt-9"})
            assert asked.status_code == (200 if any_model else 404)


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v1/embeddings", 404, None),
        ("POST", "/v1/nothing/at/all", 404, None),
        ("POST", "/v1/no%0Athing", 404, None),
        ("DELETE", "/v1/", 404, None),
        ("GET", "/v1/messages", 405, "POST"),
        ("PUT", "/v1/chat/completions", 405, "POST"),
        ("POST", "/v1/models", 405, "GET"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "/llm"])
async def test_what_is_not_there_is_refused_in_the_wire_format(method, path, status, allow, prefix):
    app, outer = FastAPI(), APIRouter()
    outer.include_router(llm_routes(LLMClient(Simulator())), prefix=prefix)
    app.include_router(outer)
    async with client_of(app) as http:
        response = await http.request(method, prefix + path)
        assert (response.status_code, response.headers.get("allow")) == (status, allow)
        is_anthropic = path.startswith("/v1/messages")
        assert ("type" in response.json()) is is_anthropic
        assert unquote(path) in response.json()["error"]["message"]
        marked = await http.request(method, prefix + path, headers=ANTHROPIC)
        assert marked.json()["type"] == "error"
        assert marked.headers["request-id"] == marked.json()["request_id"]


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/realtime", "/v1/messages"])
async def test_a_websocket_is_refused_so_that_the_client_goes_on_with_http(http, path):
    upgrade = {"connection": "Upgrade", "upgrade": "WebSocket", "sec-websocket-version": "13"}
    response = await http.get(path, headers=upgrade)  # of a server without WebSockets
    assert (response.status_code, response.headers["upgrade"]) == (426, "HTTP/1.1")
    assert "POST" in response.json()["error"]["message"]


@pytest.mark.parametrize("can_tell", [True, False])
async def test_a_server_with_websockets_refuses_them_in_the_same_way(can_tell):
    app = FastAPI()
    app.include_router(llm_routes(LLMClient(Simulator())))
    extensions = {"websocket.http.response": {}} if can_tell else {}
    scope = {"type": "websocket", "path": "/v1/responses", "headers": [], "query_string": b""}
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    await app({**scope, "extensions": extensions, "subprotocols": []}, receive, send)
    if can_tell:
        assert sent[0]["status"] == 426
        assert b"POST" in sent[1]["body"]
    else:
        assert sent[0]["type"] == "websocket.close"


async def test_other_routes_under_v1_are_left_alone(http):
    assert (await http.get("/v1/things/one")).json() == "one"
    assert (await http.get("/nothing")).json() == {"detail": "Not Found"}


def raw_deflate(content):
    made = zlib.compressobj(wbits=-15)
    return made.compress(content) + made.flush()


def streamed_zstd(content):
    """As clients make it that do not know the size: several blocks, flushed, without the size."""
    made = ZstdCompressor()
    parts = [made.compress(content[at : at + 30], made.FLUSH_BLOCK) for at in range(0, 90, 30)]
    return b"".join(parts) + made.compress(content[90:]) + made.flush()


CODINGS = {
    "zstd": zstd,
    "ZSTD": lambda content: zstd(content, 22),
    "zstd ": lambda content: zstd(content[:20]) + zstd(b"") + zstd(content[20:]),
    "identity, zstd": lambda content: bytes.fromhex("502a4d1803000000616263") + zstd(content),
    " zstd": streamed_zstd,
    "gzip, zstd": lambda content: zstd(gzip.compress(content, mtime=0)),
    "zstd,gzip": lambda content: gzip.compress(zstd(content), mtime=0),
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP, identity": gzip.compress,
    "deflate": zlib.compress,
    "deflate, gzip": lambda content: gzip.compress(zlib.compress(content), mtime=0),
    "gzip ": lambda content: (
        gzip.compress(content[:20], mtime=0) + gzip.compress(content[20:], mtime=0)
    ),
    " deflate": raw_deflate,
    "identity": bytes,
    "": bytes,
}


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_compressed_body_is_read(http, coding):
    content = CODINGS[coding](json.dumps(BODY).encode())
    headers = {"content-encoding": coding} if coding else {}
    response = await http.post("/v1/messages", content=content, headers=headers)
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    ("coding", "content", "status"),
    [
        ("br", b"x", 415),
        ("gzip, br", b"x", 415),
        ("gzip", b"no gzip", 400),
        ("gzip", gzip.compress(b"{" * 100, mtime=0)[:-9], 400),
        ("deflate", b"\x00", 400),
        ("gzip", b"", 400),
        ("gzip", gzip.compress(b" " * 2001, mtime=0), 413),
        ("gzip", gzip.compress(b" " * 50_000_000, mtime=0), 413),
        ("gzip, gzip", gzip.compress(gzip.compress(b" " * 3000, mtime=0), mtime=0), 413),
        ("gzip", gzip.compress(b" " * 1999, mtime=0) * 2, 413),
        ("zstd", b"no zstd", 400),
        ("zstd", b"", 400),
        ("zstd", zstd(b"{" * 100)[:-2], 400),
        ("zstd", zstd(b"{}") + b"rest", 400),
        ("zstd", zstd(b" " * 2001), 413),
        ("zstd", zstd(b" " * 50_000_000), 413),
        ("zstd", zstd(b" " * 1999) * 2, 413),
        ("zstd", zstd(b"") * 101, 413),
        ("zstd", bytes.fromhex("28b52ffd00a80100007b"), 400),  # wants a window of 2 GiB
        ("gzip, zstd", zstd(gzip.compress(b" " * 3000, mtime=0)), 413),
        ("gzip, zstd", gzip.compress(zstd(b"{}"), mtime=0), 400),
        ("zstd, zstd, zstd, zstd", b"x", 415),
    ],
)
async def test_a_compressed_body_is_bounded_and_refused_in_words(http, coding, content, status):
    headers = {"content-encoding": coding}
    response = await http.post("/v1/messages", content=content, headers=headers)
    assert response.status_code == status
    assert response.json()["error"]["message"]


async def test_an_image_of_many_megabytes_is_taken():
    app = FastAPI()
    app.include_router(llm_routes(LLMClient(Simulator())))
    source = {"type": "base64", "media_type": "image/png", "data": "AAAA" * 1_500_000}
    body = {
        **BODY,
        "messages": [{"role": "user", "content": [{"type": "image", "source": source}]}],
    }
    body["max_tokens"] = 99
    content = gzip.compress(json.dumps(body).encode(), 1)
    async with client_of(app) as http:
        for sent, headers in ((json.dumps(body), {}), (content, {"content-encoding": "gzip"})):
            answer = await http.post("/v1/messages", content=sent, headers=headers)
            assert "[image/png, 4500000 bytes]" in answer.json()["content"][0]["text"]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/responses"])
@pytest.mark.parametrize("api", ["openai", "anthropic"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_that_comes_back_is_refused_in_words(path, api, stream):
    app = FastAPI()
    install(app, grace=60)
    async with serving(app) as url:
        if api == "openai":
            provider = OpenAIProvider("k", base_url=f"{url}/v1")
        else:
            provider = AnthropicProvider("k", base_url=url)
        app.include_router(llm_routes(LLMClient(provider, attempts=1)))
        async with httpx.AsyncClient(base_url=url) as http:
            response = await http.post(path, json={**BODY, "input": "Hi", "stream": stream})
        assert response.status_code == 508
        assert "passed through this service before" in response.json()["error"]["message"]
        await provider.aclose()


async def test_a_chain_of_services_is_no_loop():
    last, first = FastAPI(), FastAPI()
    last.include_router(llm_routes(LLMClient(Simulator())))
    async with serving(last) as url:
        provider = AnthropicProvider("k", base_url=url)
        first.include_router(llm_routes(LLMClient(provider)))
        async with client_of(first) as http:
            response = await http.post("/v1/messages", json=BODY, headers={"via": "1.1 proxy"})
        assert response.status_code == 200
        await provider.aclose()


@pytest.mark.parametrize("provider", [OpenAIProvider, AnthropicProvider])
async def test_the_environment_of_the_service_does_not_say_where_it_calls(provider, monkeypatch):
    for name in ("OPENAI", "ANTHROPIC"):
        monkeypatch.setenv(f"{name}_BASE_URL", "http://127.0.0.1:9/v1")
        monkeypatch.setenv(f"{name}_CUSTOM_HEADERS", "authorization: Bearer other")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "other")
    monkeypatch.setenv("OPENAI_ORG_ID", "other")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "other")
    made = provider("k")
    request = made._sdk._build_request(
        __import__(provider.name)._models.FinalRequestOptions(method="post", url="/x")
    )
    assert request.url.host in ("api.openai.com", "api.anthropic.com")
    assert "other" not in str(dict(made._sdk.default_headers))
    await made.aclose()


async def test_options_of_a_call_count_for_a_request_that_came_in_a_wire_format():
    request = ChatRequest(messages="Hi")
    answer = await collect(LLMClient(Simulator()).chat_completion(request, max_tokens=2))
    assert answer.finish_reason == "length"


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/responses"])
@pytest.mark.parametrize(
    ("failure", "stream", "status"),
    [
        (Failure(status=429, retry_after=1, times=1), True, 429),
        (Failure(status=529, times=1), False, 529),
        (Failure(error_type="server", times=1), False, 502),
    ],
)
async def test_a_scripted_failure_reaches_the_client_which_tries_again(
    path, failure, stream, status
):
    simulator = Simulator(script=Script(reply=(Reply(text="At last.", failure=failure),)))
    app = FastAPI()
    app.include_router(llm_routes(LLMClient(simulator)))
    async with client_of(app) as http:
        body = {**BODY, "input": "Hi", "stream": stream}
        refused = await http.post(path, json=body)
        assert (refused.status_code, len(simulator.journal)) == (status, 1)
        answer = await http.post(path, json=body)
        assert answer.status_code == 200
        assert "last" in answer.text
