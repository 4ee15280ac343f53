"""Upstreams on real sockets that answer oddly: their words and status reach the client, and never a
500; what is an answer is read, in whatever form it comes."""

import json
import logging

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from dual_mode_streaming.llm import (
    EventType,
    LLMClient,
    StreamEvent,
    TextDelta,
    collect,
    llm_routes,
)
from dual_mode_streaming.llm.providers import AnthropicProvider, OpenAIProvider
from dual_mode_streaming.testing import StreamingTransport, serving
from tests.helpers.scripted import Answer, Server, Switch, page

ONE = {"choices": [{"message": {"content": "one two"}, "finish_reason": "stop"}]}
WHOLE = {
    "openai": {**ONE, "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
    "anthropic": {
        "type": "message",
        "content": [{"type": "text", "text": "one two"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 3, "output_tokens": 2},
    },
}
CHUNKS = {
    "openai": [
        {"choices": [{"delta": {"content": "one "}}]},
        {"choices": [{"delta": {"content": "two"}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
    ],
    "anthropic": [
        {"type": "message_start", "message": {"usage": {"input_tokens": 3}}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "one "}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "two"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ],
}


def frames(chunks, end=b"\n\n"):
    return [b"data: " + json.dumps(chunk).encode() + end for chunk in chunks]


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def providers():
    """A server for all tests, and a provider of each format for it: to make them takes long."""
    switch = Switch()
    async with serving(switch, log_level="critical") as url:
        made = {
            "openai": OpenAIProvider("key-of-ours", base_url=f"{url}/v1"),
            "anthropic": AnthropicProvider("key-of-ours", base_url=url),
        }
        yield switch, made
        for provider in made.values():
            await provider.aclose()


@pytest.fixture(params=["openai", "anthropic"])
def upstream(request, providers):
    """An upstream, a provider for it, and the name of its format."""
    switch, made = providers
    switch.server = Server("")
    return switch.server, made[request.param], request.param


async def ask(provider, stream, attempts=1, **options):
    client = LLMClient(provider, attempts=attempts, **options)
    return await collect(client.chat_completion("Hi", stream=stream))


ANSWERS = {
    "a stream": lambda name: Answer(frames(CHUNKS[name])),
    "a stream of another media type": lambda name: Answer(frames(CHUNKS[name]), media="text/plain"),
    "without a blank line between": lambda name: Answer([*frames(CHUNKS[name], b"\n")]),
    "without one at the end": lambda name: Answer([b"".join(frames(CHUNKS[name]))[:-2]]),
    "with CR LF": lambda name: Answer(frames(CHUNKS[name], b"\r\n\r\n")),
    "with a byte order mark": lambda name: Answer([b"\xef\xbb\xbf", *frames(CHUNKS[name])]),
    "with comments and words between": lambda name: Answer(
        [b": PROCESSING\n\n", b"data: ping\n\n", b"retry: 5\n\n", *frames(CHUNKS[name])]
    ),
    "with null, lists and numbers between": lambda name: Answer(
        [*frames([None, [], 5, True, {}, {"choices": None}]), *frames(CHUNKS[name])]
    ),
    "that stays open behind its end": lambda name: Answer(
        [*frames(CHUNKS[name]), b"data: [DONE]\n\n"], then="hang"
    ),
    "lines of JSON": lambda name: Answer(
        [json.dumps(c).encode() + b"\n" for c in CHUNKS[name]], media="application/x-ndjson"
    ),
    "a whole": lambda name: page(200, WHOLE[name], "application/json"),
    "a whole as text": lambda name: page(200, WHOLE[name], "text/html"),
    "a whole with spaces before": lambda name: page(
        200, b"\n \n" + json.dumps(WHOLE[name]).encode()
    ),
    "types by their events": lambda name: Answer(
        [
            b"event: %b\ndata: %b\n\n"
            % (c.get("type", "message").encode(), json.dumps({**c, "type": None}).encode())
            if name == "openai"
            else b"event: %b\n" % c["type"].encode()
            + frames([{k: v for k, v in c.items() if k != "type"}])[0]
            for c in CHUNKS[name]
        ]
    ),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("form", ANSWERS)
async def test_an_answer_is_read_in_whatever_form_it_comes(upstream, form, stream):
    server, provider, name = upstream
    server.then(ANSWERS[form](name))
    answer = await ask(provider, stream)
    assert answer.type is EventType.MESSAGE_COMPLETE, answer
    assert (answer.message.content, answer.finish_reason) == ("one two", "stop")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (3, 2)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"[]", b"{}", b"5", b"true", b'""', b"<html><body>Welcome</body></html>"),
        *(b"<?xml version='1.0'?><Error/>", b"no JSON", b'{"choices": []}', b'{"choices": null}'),
        *(
            b'{"content": [',
            b"\xff\xfe\x00",
            b"[" * 5000,
            b"data: no JSON\n\n",
            b"data: <html>\n\n",
        ),
        *(b"data: [DONE]\n\n", b": only a comment\n\n", b"data: {}\n\ndata: [DONE]\n\n"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_garbage_with_a_success_is_a_502(upstream, body, stream):
    server, provider, _ = upstream
    server.then(Answer([body], media="text/html"))
    app = FastAPI()
    app.include_router(llm_routes(LLMClient(provider, attempts=1)))
    async with httpx.AsyncClient(
        transport=StreamingTransport(app), base_url="http://test"
    ) as client:
        for path in ("/v1/messages", "/v1/chat/completions"):
            request = {"model": "m", "max_tokens": 9, "stream": stream}
            request["messages"] = [{"role": "user", "content": "Hi"}]
            answer = await client.post(path, json=request)
            assert answer.status_code == 502, answer.text
            assert answer.json()["error"]["message"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request"),
        (403, "permission"),
        (404, "not_found"),
        (413, "too_large"),
        (429, "rate_limit"),
        (500, "server"),
        (503, "overloaded"),
    ],
)
async def test_words_status_and_pause_of_a_refusal_reach_the_client(upstream, status, kind, stream):
    server, provider, _ = upstream
    for body, words in (
        ({"error": {"message": "words of theirs", "code": "x"}}, "words of theirs"),
        ({"error": "words of theirs"}, "words of theirs"),
        ({"detail": [{"msg": "words of theirs"}]}, "words of theirs"),
        ([{"error": {"message": "words of theirs", "status": "X"}}], "words of theirs"),
        (b"words of theirs", "words of theirs"),
        (b"<html><title>words of theirs</title></html>", "words of theirs"),
        (b"", str(status)),
    ):
        server.then(page(status, body, "application/json", retry_after="7"))
        error = await ask(provider, stream)
        assert words in error.error
        assert (error.error_type, error.status, error.retry_after) == (kind, status, 7)


async def test_the_pause_may_be_a_date_or_in_the_words(upstream):
    server, provider, _ = upstream
    server.then(page(429, {}, retry_after="Wed, 21 Oct 2099 07:28:00 GMT"))
    assert (await ask(provider, True)).retry_after > 1e6
    for pause in ("soon", "nan", "inf", "-3"):
        server.then(page(429, {"message": "Please try again in 6m1.5s."}, retry_after=pause))
        assert (await ask(provider, True)).retry_after in (361.5, 0)


async def test_a_refused_key_is_not_told(upstream):
    server, provider, _ = upstream
    server.then(page(401, {"error": {"message": "Incorrect key key-of-ours"}}))
    error = await ask(provider, True)
    assert (error.error_type, error.status) == ("authentication", 401)
    assert "key-of-ours" not in error.error


async def test_an_error_within_the_stream_keeps_its_words_and_the_text_before(upstream):
    server, provider, name = upstream
    begun = frames(CHUNKS[name][:2])
    for last in (
        b'data: {"error": {"message": "words", "code": 429}}\n\n',
        b'event: error\ndata: {"message": "words", "code": "rate_limit_exceeded"}\n\n',
        b'data: {"type": "error", "error": {"type": "rate_limit_error", "message": "words"}}\n\n',
        b'data: {"detail": "words", "status": 429}\n\n',
    ):
        server.then(Answer([*begun, last]))
        error = await ask(provider, True)
        assert (error.error, error.error_type) == ("words", "rate_limit")
        assert error.partial.startswith("one")


@pytest.mark.parametrize("then", ["cut", "end"])
async def test_a_cut_answer_is_an_error(upstream, then):
    server, provider, name = upstream
    begun = CHUNKS[name][: 1 if name == "openai" else 2]
    server.then(Answer(frames(begun), then=then))
    error = await ask(provider, True)
    assert error.error_type in ("connection", "stream_truncated")
    assert error.partial.startswith("one")


@pytest.mark.parametrize("upstream", ["openai"], indirect=True)
async def test_done_after_content_is_an_end(upstream):
    server, provider, name = upstream
    server.then(Answer([*frames(CHUNKS[name][:1]), b"data: [DONE]\n\n"]))
    answer = await ask(provider, True)
    assert (answer.type, answer.message.content) == (EventType.MESSAGE_COMPLETE, "one ")


async def test_odd_lists_of_models_and_counts_are_errors_of_the_provider(upstream):
    server, provider, _ = upstream
    for body in (b"null", b"[]", b'{"data": [null, 5]}', b"<html>", b"", b'{"input_tokens": null}'):
        server.then(Answer([body], media="application/json"))
        app = FastAPI()
        app.include_router(llm_routes(LLMClient(provider, attempts=1)))
        async with httpx.AsyncClient(
            transport=StreamingTransport(app), base_url="http://test"
        ) as client:
            request = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
            for answer in (
                await client.get("/v1/models"),
                await client.post("/v1/messages/count_tokens", json=request),
            ):
                assert answer.status_code in (200, 502), (body, answer.text)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_mistake_of_a_provider_is_an_error_and_logged(stream, caplog):
    class Mistaken:
        name = default_model = "mistaken"

        async def stream(self, request):
            yield StreamEvent(type=EventType.TEXT_DELTA, text_delta=TextDelta(content="a"))
            raise KeyError("index")

        async def complete(self, request):
            raise IndexError("list index out of range")

        def estimate_tokens(self, request):
            raise TypeError("no")

    with caplog.at_level(logging.ERROR):
        error = await ask(Mistaken(), stream)
    assert (error.type, error.error_type, error.status) == (EventType.ERROR, "server", 500)
    assert caplog.records[0].exc_info


HI = {"role": "user", "content": "Hi"}
HALF = {"name": "f", "arguments": '{"half": "\\ud800"}'}


async def refused(upstream, path, content):
    server, provider, _ = upstream
    app = FastAPI()
    app.include_router(llm_routes(LLMClient(provider)))
    transport = StreamingTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
        answer = await http.post(path, content=content)
    assert (answer.status_code, server.asked) == (400, []), answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"
    return answer.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_infinite_number_that_would_be_passed_on_is_refused(upstream, stream):
    path = "/v1/chat/completions" if upstream[2] == "openai" else "/v1/messages"
    body = {"model": "m", "max_tokens": 5, "messages": [HI], "stream": stream, "metadata": 0}
    content = json.dumps(body).replace('"metadata": 0', '"metadata": {"x": 1e999}')
    assert "a number that is not finite" in await refused(upstream, path, content)


@pytest.mark.parametrize("upstream", ["anthropic"], indirect=True)  # its arguments are objects
@pytest.mark.parametrize("stream", [False, True])
async def test_half_a_character_in_arguments_is_refused(upstream, stream):
    call = {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": HALF}]}
    messages = [HI, call, {"role": "tool", "tool_call_id": "c", "content": "x"}]
    content = json.dumps({"model": "m", "messages": messages, "stream": stream})
    assert "a lone surrogate" in await refused(upstream, "/v1/chat/completions", content)
