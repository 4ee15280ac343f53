"""A caller who speaks the provider's API: the body goes through as it came, the answer comes back
whole, and between them we only read along. The provider is a local stand-in with real sockets."""

import json

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from dual_mode_streaming import EventDecoder, install
from dual_mode_streaming.llm import LLMClient, ProviderError, llm_routes
from dual_mode_streaming.llm._problems import problem_of_provider
from dual_mode_streaming.llm.providers import AnthropicProvider, OpenAIProvider
from dual_mode_streaming.testing import serving

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
QUESTION = [
    {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"a": 1}}]}
]

CHAT_CHUNKS = [
    {
        "id": "c",
        "choices": [{"index": 0, "delta": {"role": "assistant"}}],
        "system_fingerprint": "x",
    },
    {"id": "c", "choices": [{"index": 0, "delta": {"content": "é\u2028"}, "logprobs": {"z": 1}}]},
    {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "vendor": [1]},
]
CHAT_USAGE = {"id": "c", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
MESSAGE_CHUNKS = [
    {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 3, "x": {"y": 1}}}},
    {"type": "ping"},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "server_tool_use"}},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "citations_delta", "c": 1}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hi"}},
    {"type": "content_block_stop", "index": 1},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]
RESPONSE = {"id": "resp_up", "status": "completed", "vendor": 1, "usage": {"input_tokens": 3}}
RESPONSE["usage"]["output_tokens"] = 2
RESPONSE["output"] = [
    {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "Hi"}]}
]
RESPONSE_CHUNKS = [
    {"type": "response.created", "response": {"id": "resp_up"}, "sequence_number": 0},
    {"type": "response.web_search_call.searching", "sequence_number": 1},
    {"type": "response.output_text.delta", "delta": "Hi", "output_index": 0},
    {"type": "response.completed", "response": RESPONSE, "sequence_number": 3},
]


def events_of(chunks, *, named):
    frames = []
    for chunk in chunks:
        name = f"event: {chunk['type']}\n" if named else ""
        frames.append(f"{name}data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode())
    return frames


class Upstream:
    """A stand-in that keeps what it was sent, and answers what it was told to."""

    def __init__(self):
        self.bodies, self.headers, self.paths = [], [], []
        self.answers = {}
        self.app = FastAPI()

        @self.app.post("/{path:path}", response_model=None)
        async def answer(path: str, request: Request) -> Response:
            self.paths.append("/" + path)
            self.bodies.append(await request.json())
            self.headers.append(request.headers)
            made = self.answers["/" + path]
            made = made.pop(0) if isinstance(made, list) and callable(made[0]) else made
            if callable(made):
                return made()
            limits = {"x-ratelimit-remaining-requests": "7", "x-secret": "s"}
            limits |= {"anthropic-ratelimit-tokens-remaining": "8", "request-id": "up_1"}
            if isinstance(made, dict):
                return JSONResponse(made, headers=limits)
            kind = "text/event-stream"
            return StreamingResponse(iter(made), media_type=kind, headers=limits)


class Gateway:
    """Our service in front of the stand-in."""

    def __init__(self, upstream, http, ends):
        self.upstream, self.http, self.ends = upstream, http, ends

    async def post(self, path, body, **headers):
        return await self.http.post(path, json=body, headers=headers)


@pytest.fixture
async def gateway(monkeypatch, request):
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "x-of-the-environment: 1")
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "x-of-the-environment: 1")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-environment")
    upstream, ends = Upstream(), []
    async with serving(upstream.app) as url:
        openai = OpenAIProvider("k", base_url=f"{url}/v1")
        anthropic = AnthropicProvider("k", base_url=url)
        from dual_mode_streaming.llm import Router

        router = Router(openai, {"claude": anthropic})
        app = FastAPI()
        if "kept" in request.node.name:
            install(app, signals=False, owner=lambda _: "")
        attempts = 2
        if "is_a_refusal" in request.node.name:  # its status waits for the first event
            install(app, signals=False, grace=60)
            attempts = 1
        client = LLMClient(router, attempts=attempts, on_end=ends.append)
        app.include_router(llm_routes(client))
        async with serving(app) as ours, httpx.AsyncClient(base_url=ours) as http:
            yield Gateway(upstream, http, ends)
        await router.aclose()


FORMS = {
    CHAT: ("gpt", [*events_of([*CHAT_CHUNKS, CHAT_USAGE], named=False), b"data: [DONE]\n\n"]),
    MESSAGES: ("claude", events_of(MESSAGE_CHUNKS, named=True)),
    RESPONSES: ("gpt", events_of(RESPONSE_CHUNKS, named=True)),
}


def body_of(path, **more):
    model, _ = FORMS[path]
    field = "input" if path == RESPONSES else "messages"
    vendor = {"vendor_field": {"deep": [1, None]}, "n": 2, "container": {"id": "c"}}
    return {"model": model, field: QUESTION, "temperature": 3, **vendor, **more}


def decoded(response):
    events = EventDecoder().feed(response.content)
    return [(e.event, json.loads(e.data)) for e in events if e.data != "[DONE]"]


@pytest.mark.parametrize("path", FORMS)
async def test_a_stream_passes_whole_in_both_directions(gateway, path):
    gateway.upstream.answers[path] = FORMS[path][1]
    beta = {"anthropic-beta": "b", "openai-beta": "c", "anthropic-version": "2023-06-01"}
    body = body_of(path, stream=True)
    response = await gateway.post(path, body, **beta)
    assert response.status_code == 200, response.text
    chunks = {CHAT: CHAT_CHUNKS, MESSAGES: MESSAGE_CHUNKS, RESPONSES: RESPONSE_CHUNKS}[path]
    assert [data for _, data in decoded(response)] == chunks
    if path != CHAT:
        assert [name for name, _ in decoded(response)] == [chunk["type"] for chunk in chunks]
    assert response.content.endswith(b"data: [DONE]\n\n") is (path == CHAT)
    assert "\u2028".encode() not in response.content, "some clients split there"
    sent = dict(gateway.upstream.bodies[0])
    if path == CHAT:
        assert sent.pop("stream_options") == {"include_usage": True}
    assert sent == body
    assert beta.items() <= dict(gateway.upstream.headers[0]).items()
    assert "x-of-the-environment" not in gateway.upstream.headers[0]
    assert "openai-organization" not in gateway.upstream.headers[0]
    (spent,) = gateway.ends
    assert (spent.outcome, spent.usage.input_tokens) == ("stop", 3)


@pytest.mark.parametrize("path", FORMS)
async def test_a_batch_passes_whole(gateway, path):
    batch = {
        CHAT: {"choices": [{"message": {"content": "Hi", "x": 1}, "finish_reason": "stop"}]},
        MESSAGES: {"type": "message", "content": [{"type": "text", "text": "Hi", "z": None}]},
        RESPONSES: RESPONSE,
    }[path]
    gateway.upstream.answers[path] = batch
    response = await gateway.post(path, body_of(path))
    assert (response.status_code, response.json()) == (200, batch)
    assert gateway.upstream.bodies == [body_of(path)]
    assert response.headers["x-ratelimit-remaining-requests"] == "7"
    assert response.headers["anthropic-ratelimit-tokens-remaining"] == "8"
    assert response.headers["request-id"] == "up_1"
    assert "x-secret" not in response.headers


@pytest.mark.parametrize("options", [{"include_usage": True}, {"include_usage": False, "o": 1}])
async def test_the_usage_is_for_those_who_ask(gateway, options):
    gateway.upstream.answers[CHAT] = FORMS[CHAT][1]
    response = await gateway.post(CHAT, body_of(CHAT, stream=True, stream_options=options))
    shown = CHAT_USAGE in [data for _, data in decoded(response)]
    assert shown is options["include_usage"]
    assert gateway.upstream.bodies[0]["stream_options"] == {**options, "include_usage": True}


ERRORS = {
    CHAT: {"error": {"message": "too long", "code": "context_length_exceeded", "vendor": 1}},
    MESSAGES: {"type": "error", "error": {"type": "invalid_request_error", "message": "m", "d": 1}},
    RESPONSES: {"error": {"message": "no", "param": "input", "type": "invalid_request_error"}},
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", FORMS)
async def test_a_refusal_passes_whole_with_its_status(gateway, path, stream):
    refusal = JSONResponse(ERRORS[path], 422, headers={"x-ratelimit-limit": "1"})
    gateway.upstream.answers[path] = lambda: refusal
    response = await gateway.post(path, body_of(path, stream=stream))
    assert (response.status_code, response.json()) == (422, ERRORS[path])
    assert response.headers["x-ratelimit-limit"] == "1"


@pytest.mark.parametrize("path", FORMS)
async def test_a_refused_key_of_ours_is_not_quoted(gateway, path):
    words = {"error": {"message": "Incorrect API key: sk-123", "code": "invalid_api_key"}}
    gateway.upstream.answers[path] = lambda: JSONResponse(words, 401)
    response = await gateway.post(path, body_of(path))
    assert response.status_code == 401
    assert "sk-123" not in response.text


@pytest.mark.parametrize("path", FORMS)
async def test_a_stream_that_is_cut_has_no_clean_end(gateway, path):
    gateway.upstream.answers[path] = FORMS[path][1][: {CHAT: 2, MESSAGES: -2, RESPONSES: -1}[path]]
    response = await gateway.post(path, body_of(path, stream=True))
    last = decoded(response)[-1][1]
    assert "without its final event" in json.dumps(last)
    assert b"[DONE]" not in response.content


@pytest.mark.parametrize("path", FORMS)
async def test_an_error_in_the_stream_passes_whole_and_is_the_end(gateway, path):
    error = {
        CHAT: {"error": {"message": "broke", "code": 500, "vendor": 1}},
        MESSAGES: {"type": "error", "error": {"type": "overloaded_error", "message": "o", "v": 1}},
        RESPONSES: {"type": "response.failed", "response": {"status": "failed", "error": {"v": 1}}},
    }[path]
    begun = FORMS[path][1][: {CHAT: 2, MESSAGES: 6, RESPONSES: 3}[path]]
    gateway.upstream.answers[path] = [*begun, *events_of([error], named=path != CHAT)]
    response = await gateway.post(path, body_of(path, stream=True))
    assert decoded(response)[-1][1] == error
    assert b"[DONE]" not in response.content


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_an_error_that_comes_first_is_tried_again(gateway, path):
    begun = FORMS[path][1][:1]
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "o"}}
    kind = "text/event-stream"
    broken = [*begun, *events_of([error], named=path != CHAT)]
    gateway.upstream.answers[path] = [
        lambda: StreamingResponse(iter(broken), media_type=kind),
        lambda: StreamingResponse(iter(FORMS[path][1]), media_type=kind),
    ]
    response = await gateway.post(path, body_of(path, stream=True))
    chunks = {CHAT: CHAT_CHUNKS, MESSAGES: MESSAGE_CHUNKS}[path]
    ping = {"type": "ping"}  # we may send one while we wait
    received = [data for _, data in decoded(response) if data != ping]
    assert received == [chunk for chunk in chunks if chunk != ping]


async def test_a_message_without_its_stop_event_gets_one(gateway):
    gateway.upstream.answers[MESSAGES] = FORMS[MESSAGES][1][:-1]
    response = await gateway.post(MESSAGES, body_of(MESSAGES, stream=True))
    assert [data for _, data in decoded(response)] == MESSAGE_CHUNKS


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_server_without_responses_is_asked_for_chat_completions(gateway, status):
    gateway.upstream.answers[RESPONSES] = lambda: JSONResponse({"detail": "Not Found"}, status)
    gateway.upstream.answers[CHAT] = FORMS[CHAT][1]
    body = {"model": "gpt", "input": "Hi", "stream": True}
    for _ in range(2):
        response = await gateway.post(RESPONSES, body)
        names = [name for name, _ in decoded(response)]
        assert names[0] == "response.created"
        assert names[-1] == "response.completed"
    assert gateway.upstream.paths == [RESPONSES, CHAT, CHAT], "it is remembered"
    refused = await gateway.post(RESPONSES, {**body, "background": True})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "background")


async def test_a_model_that_is_not_there_is_no_server_without_responses(gateway):
    missing = {"error": {"message": "no such model", "code": "model_not_found"}}
    gateway.upstream.answers[RESPONSES] = lambda: JSONResponse(missing, 404)
    response = await gateway.post(RESPONSES, {"model": "gpt", "input": "Hi"})
    assert (response.status_code, response.json()) == (404, missing)
    assert gateway.upstream.paths == [RESPONSES]


async def test_tokens_are_counted_for_the_body_as_it_came(gateway):
    gateway.upstream.answers[f"{MESSAGES}/count_tokens"] = {"input_tokens": 9}
    body = {"model": "claude", "messages": QUESTION, "mcp_servers": [{"name": "x"}]}
    response = await gateway.post(f"{MESSAGES}/count_tokens", body)
    assert response.json() == {"input_tokens": 9}
    assert gateway.upstream.bodies == [body]


async def test_a_response_that_only_the_provider_knows_is_continued_there(gateway):
    gateway.upstream.answers[RESPONSES] = RESPONSE
    body = body_of(RESPONSES, previous_response_id="resp_up", background=False)
    response = await gateway.post(RESPONSES, body)
    assert (response.status_code, response.json()) == (200, RESPONSE)
    assert gateway.upstream.bodies == [body]
    gateway.upstream.answers[RESPONSES] = lambda: Response("no", 404)
    refused = await gateway.post(RESPONSES, body)  # and it has no responses after all
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (400, "previous_response_not_found")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_of_the_provider_is_kept_and_continued(gateway, stream):
    gateway.upstream.answers[RESPONSES] = FORMS[RESPONSES][1] if stream else RESPONSE
    await gateway.post(RESPONSES, body_of(RESPONSES, stream=stream))
    path = f"{RESPONSES}/{RESPONSE['id']}"
    assert (await gateway.http.get(path)).json() == RESPONSE
    body = body_of(RESPONSES, stream=stream, previous_response_id="resp_up")
    await gateway.post(RESPONSES, body)
    answer = {"type": "message", "content": RESPONSE["output"][0]["content"]}
    sent = {**body, "input": [*QUESTION, answer, *QUESTION]}
    del sent["previous_response_id"]
    assert gateway.upstream.bodies[1] == sent
    assert (await gateway.http.delete(path)).json()["deleted"]
    assert (await gateway.http.get(path)).status_code == 404


async def test_the_provider_counts_the_tokens_of_a_request_or_we_estimate_them(gateway):
    path, counted = f"{RESPONSES}/input_tokens", {"object": "response.input_tokens"}
    gateway.upstream.answers[path] = counted | {"input_tokens": 7}
    body = {"model": "gpt", "input": "Hi there", "vendor": 1}
    assert (await gateway.post(path, body)).json() == counted | {"input_tokens": 7}
    assert gateway.upstream.bodies == [body]
    gateway.upstream.answers[path] = lambda: Response("no", 404)
    assert (await gateway.post(path, body)).json() == counted | {"input_tokens": 2}
    gateway.upstream.answers[path] = lambda: JSONResponse({"error": {"message": "no"}}, 429)
    assert (await gateway.post(path, body)).status_code == 429


EVENTS = {
    "an error": (b'data: {"error": {"message": "boom", "code": 503}}\n\n', 503, "boom"),
    "named": (b'event: error\ndata: {"message": "boom", "code": 503}\n\n', 503, "boom"),
    "Anthropic's": (
        b'event: error\ndata: {"type": "error", "error": '
        b'{"type": "overloaded_error", "message": "boom"}}\n\n',
        529,
        "boom",
    ),
    "as text": (b'data: {"error": "boom"}\n\n', 502, "boom"),
    "no JSON": (b"event: error\ndata: boom\n\n", 502, "boom"),
}


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_as_the_first_event_is_a_refusal_in_the_format_of_the_caller(
    gateway, name, path, stream
):
    event, status, words = EVENTS[name]
    for first in ([], FORMS[path][1][:1]):  # before a batch is complete, it is the same
        if first and stream:
            continue
        gateway.upstream.answers[path] = [*first, event]
        response = await gateway.post(path, body_of(path, stream=stream))
        assert response.status_code == status, response.text
        assert words in response.json()["error"]["message"]


@pytest.mark.parametrize("status", [600, 999, 100, 299])
def test_a_status_that_is_none_of_an_error_is_none_of_ours(status):
    error = ProviderError("odd", "server", status=status)
    assert problem_of_provider(error).status_code == 502
