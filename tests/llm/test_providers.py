"""One suite for all providers. The two that are services are tested against a local server that
speaks their wire format: our own routes, with a scripted model behind them. No key, no network."""

import asyncio
import json
import sys

import httpx
import pytest
from fastapi import FastAPI

from dual_mode_streaming.llm import (
    EventType,
    LLMClient,
    LLMSettings,
    Pace,
    Provider,
    ProviderError,
    Script,
    Simulator,
    collect,
    llm_routes,
    provider_by_settings,
)
from dual_mode_streaming.llm.providers import AnthropicProvider, OpenAIProvider
from dual_mode_streaming.server import app as server_app
from dual_mode_streaming.testing import StreamingTransport, serving

from .test_sdks import SCRIPT, WEATHER

SCRIPT += """
[[reply]]
match = "later"
text = "Now."
failure = { status = 429, retry_after = 0.01, times = 1 }

[[reply]]
match = "slowly"
text = "one two three four"
pace = { first = 0.01, rate = 1 }
"""

TOOLS = [{"name": name, "parameters": WEATHER} for name in ("weather", "time")]


class Stage:
    """A model behind both wire formats, and the `Spent` of its calls."""

    def __init__(self, path):
        self.ends = []
        self.ended = asyncio.Event()
        self.model = Simulator(Pace(), Script.load(path))
        self.app = FastAPI()
        behind = LLMClient(self.model, attempts=1, on_end=self.report)
        self.app.include_router(llm_routes(behind))

    def report(self, spent):
        self.ends.append(spent)
        self.ended.set()


@pytest.fixture
async def stage(tmp_path):
    (tmp_path / "script.toml").write_text(SCRIPT)
    return Stage(tmp_path / "script.toml")


@pytest.fixture(params=["simulator", "anthropic", "openai"])
async def provider(request, stage):
    if request.param == "simulator":
        yield stage.model
        return
    async with serving(stage.app) as url:
        made: Provider
        if request.param == "anthropic":
            made = AnthropicProvider("k", base_url=url, model="simulator")
        else:
            made = OpenAIProvider("k", base_url=f"{url}/v1", model="simulator")
        yield made
        await made.aclose()


async def ask(provider, question, *, stream, **options):
    client = LLMClient(provider, attempts=options.pop("attempts", 1))
    return await collect(client.chat_completion(question, stream=stream, **options))


@pytest.mark.parametrize("question", ["Hello", "please think", "lines", "refuses"])
async def test_the_fold_of_the_stream_is_the_whole_answer_on_every_provider(
    provider, stage, question
):
    reference = await ask(stage.model, question, stream=False)
    for stream in (True, False):
        answer = await ask(provider, question, stream=stream)
        assert answer.message.content == reference.message.content
        assert answer.message.thinking == reference.message.thinking
        assert answer.finish_reason == reference.finish_reason
        assert answer.usage == reference.usage


@pytest.mark.parametrize("stream", [True, False])
async def test_tool_calls_on_every_provider(provider, stream):
    answer = await ask(provider, "two calls", stream=stream, tools=TOOLS)
    assert answer.finish_reason == "tool_calls"
    assert answer.message.content == "Calling."
    assert [call.name for call in answer.message.tool_calls] == ["weather", "time"]
    arguments = [json.loads(call.arguments) for call in answer.message.tool_calls]
    assert arguments == [{"city": "Paris", "note": "naïve \u2028 “quotes”"}, {}]
    conversation = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "two calls"},
        {"role": "assistant", "tool_calls": answer.message.tool_calls},
        *(
            {"role": "tool", "tool_call_id": call.id, "content": f"{call.name}: fine"}
            for call in answer.message.tool_calls
        ),
    ]
    goes_on = await ask(provider, conversation, stream=stream, tools=TOOLS)
    assert "time: fine" in goes_on.message.content


async def test_tool_calls_start_go_on_and_end(provider):
    client = LLMClient(provider)
    kinds = [e.type async for e in client.chat_completion("two calls", tools=TOOLS)]
    calls = [kind for kind in kinds if "tool_call" in kind]
    assert calls[0] is EventType.TOOL_CALL_START
    assert calls[-1] is EventType.TOOL_CALL_END
    assert calls.count(EventType.TOOL_CALL_START) == calls.count(EventType.TOOL_CALL_END) == 2


@pytest.mark.parametrize("stream", [True, False])
async def test_refusals_are_errors_with_their_type_and_status(provider, stream):
    for question, kind, status in (
        ("limited", "rate_limit", 429),
        ("overloaded", "overloaded", 529),
    ):
        error = await ask(provider, question, stream=stream)
        assert (error.type, error.error_type, error.status) == (EventType.ERROR, kind, status)
    assert (await ask(provider, "limited", stream=stream)).retry_after == 99
    error = await ask(provider, "Hi", stream=stream, model="none-such")
    assert (error.error_type, error.status) == ("not_found", 404)
    assert "none-such" in error.error


async def test_an_error_in_the_stream_keeps_the_text_before_it(provider):
    error = await ask(provider, "breaks", stream=True)
    assert (error.type, error.partial) == (EventType.ERROR, "one two")
    # OpenAI's format says no more than that the server failed.
    assert error.error_type in ("overloaded", "server")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_rate_limit_is_waited_for(provider, stream):
    answer = await ask(provider, "later", stream=stream, attempts=3)
    assert answer.message.content == "Now."


@pytest.mark.parametrize("provider", ["anthropic", "openai"], indirect=True)
async def test_leaving_closes_the_upstream_connection(provider, stage):
    events = LLMClient(provider).chat_completion("slowly")
    assert (await anext(events)).text_delta.content == "one"
    await events.aclose()
    await asyncio.wait_for(stage.ended.wait(), 60)
    assert stage.ends[0].outcome == "abandoned", "and not at its end"


async def test_an_upstream_that_breaks_off_is_no_end():
    """Neither SDK minds a stream that ends cleanly without its terminal event."""
    from starlette.responses import StreamingResponse

    app = FastAPI()
    begun = {
        "/v1/messages": b'event: message_start\ndata: {"type":"message_start","message":{"id":"m",'
        b'"type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,'
        b'"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}}\n\n',
        "/v1/chat/completions": b'data: {"id":"c","object":"chat.completion.chunk","created":1,'
        b'"model":"m","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n',
    }
    for path, frames in begun.items():

        def answer(frames=frames) -> StreamingResponse:
            return StreamingResponse(iter([frames]), media_type="text/event-stream")

        app.post(path, response_model=None)(answer)
    async with serving(app) as url:
        for provider in (
            AnthropicProvider("k", base_url=url),
            OpenAIProvider("k", base_url=f"{url}/v1"),
        ):
            error = await ask(provider, "Hi", stream=True)
            assert error.error_type == "stream_truncated"
            await provider.aclose()


async def test_a_server_that_is_not_there_is_a_connection_error_and_names_no_key():
    for provider in (
        AnthropicProvider("secret-key", base_url="http://127.0.0.1:9"),
        OpenAIProvider("secret-key", base_url="http://127.0.0.1:9/v1"),
    ):
        for stream in (True, False):
            error = await ask(provider, "Hi", stream=stream)
            assert error.error_type == "connection"
            assert "secret-key" not in repr(error)
        with pytest.raises(ProviderError):
            await provider.models()
        await provider.aclose()


async def test_the_settings_choose_and_the_models_name_decides():
    keys = {"ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "o"}
    router = provider_by_settings(LLMSettings(), keys)
    assert router.name == "simulator"
    assert router.of("claude-haiku-4-5").name == "anthropic"
    assert router.of("gpt-5.4").name == "openai"
    assert router.of("").name == router.of("simulator").name == "simulator"
    assert provider_by_settings(LLMSettings(), {}).of("claude-x").name == "simulator"
    chosen = provider_by_settings(LLMSettings(provider="openai", model="llama"), keys)
    assert (chosen.of("llama").name, chosen.default_model) == ("openai", "llama")
    with pytest.raises(ValueError, match="ANTHROPIC_API_KEY is not set"):
        provider_by_settings(LLMSettings(provider="anthropic"), {})
    await router.aclose()
    await chosen.aclose()


async def test_a_key_without_its_sdk_only_matters_for_the_configured_provider(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    monkeypatch.delitem(sys.modules, "dual_mode_streaming.llm.providers._openai")
    keys = {"OPENAI_API_KEY": "o"}
    assert provider_by_settings(LLMSettings(), keys).of("gpt-5.4").name == "simulator"
    with pytest.raises(ValueError, match="openai SDK is needed"):
        provider_by_settings(LLMSettings(provider="openai"), keys)


async def test_a_service_that_cannot_be_reached_is_a_502_in_each_wire_format():
    gone = AnthropicProvider("k", base_url="http://127.0.0.1:9")
    app = FastAPI()
    app.include_router(llm_routes(LLMClient(gone, attempts=1)))
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    transport = StreamingTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        answers = [
            await http.post("/v1/messages/count_tokens", json=body),
            await http.post("/v1/messages", json=body),
            await http.post("/v1/messages", json={**body, "stream": True}),
            await http.post("/v1/chat/completions", json={**body, "stream": True}),
            await http.get("/v1/models"),
        ]
    for answer in answers:
        assert answer.status_code == 502
        assert "connection failed" in answer.json()["error"]["message"]
    await gone.aclose()


async def test_the_service_lets_go_of_its_provider_at_its_end(monkeypatch):
    closed = []

    class Closes(Simulator):
        async def aclose(self):
            closed.append(self)

    monkeypatch.setattr(server_app, "provider_by_settings", lambda _: Closes())
    async with serving(server_app.create_app()) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/healthz")).status_code == 200
        assert closed == []
    assert len(closed) == 1
