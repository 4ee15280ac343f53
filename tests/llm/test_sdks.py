"""The official SDKs, with strict validation, against a live server: what they fold from the stream
is what they get at once, usage included."""

import asyncio
import doctest
import json
import re
from pathlib import Path

import anthropic
import httpx
import httpx2
import openai
import pytest
from fastapi import FastAPI

from dual_mode_streaming import drain, install
from dual_mode_streaming.llm import (
    LLMClient,
    LLMSettings,
    Script,
    Simulator,
    llm_routes,
    provider_by_settings,
)
from dual_mode_streaming.testing import StreamingTransport, serving

SCRIPT = """
[[reply]]
match = "think"
thinking = "First this, then that."
text = "Thought."

[[reply]]
match = "two calls"
text = "Calling."
tool_calls = [
    { name = "weather", arguments = { city = "Paris", note = "naïve \\u2028 “quotes”" } },
    { name = "time", arguments = "{}" },
]

[[reply]]
match = "limited"
failure = { status = 429, retry_after = 99 }

[[reply]]
match = "overloaded"
failure = { status = 529 }

[[reply]]
match = "breaks"
text = "one two three"
failure = { after_tokens = 2, error_type = "overloaded" }

[[reply]]
match = "cut off"
text = "one two three"
failure = { after_tokens = 2, cut = true }

[[reply]]
match = "lines"
text = "a\\u2028b\\u2029c\\u0085d\\r\\ne\\nf\\u0000g 🎈 100%"

[[reply]]
match = "refuses"
text = "No."
finish_reason = "content_filter"
"""

WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
OPENAI_TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": WEATHER}}
    for name in ("weather", "time")
]
RESPONSES_TOOLS = [
    {"type": "function", "name": name, "parameters": WEATHER, "strict": None}
    for name in ("weather", "time")
]
ANTHROPIC_TOOLS = [{"name": name, "input_schema": WEATHER} for name in ("weather", "time")]
QUESTIONS = ["Hello", "please think", "two calls", "lines", "refuses", ""]


@pytest.fixture
async def url(tmp_path):
    (tmp_path / "script.toml").write_text(SCRIPT)
    app = FastAPI()
    client = LLMClient(Simulator(script=Script.load(tmp_path / "script.toml")), attempts=1)
    app.include_router(llm_routes(client, body_limit=1024 * 1024))
    async with serving(app) as address:
        yield address


def options(http_client):
    return {
        "api_key": "k",
        "max_retries": 0,
        "_strict_response_validation": True,
        "http_client": http_client(verify=False, timeout=60),
    }


def openai_client(url, kind=openai.AsyncOpenAI, http_client=httpx2.AsyncClient):
    return kind(base_url=f"{url}/v1", **options(http_client))


def anthropic_client(url, kind=anthropic.AsyncAnthropic, http_client=httpx2.AsyncClient):
    return kind(base_url=url, **options(http_client))


def folded_chunks(chunks):
    """What a chat.completion would say, of its chunks, put together by their rules."""
    text, thinking, calls, reason, usage = "", "", {}, None, None
    for chunk in chunks:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            reason = choice.finish_reason or reason
            text += choice.delta.content or ""
            thinking += getattr(choice.delta, "reasoning_content", None) or ""
            for call in choice.delta.tool_calls or []:
                known = calls.setdefault(call.index, {"id": "", "name": "", "arguments": ""})
                known["id"] += call.id or ""
                known["name"] += call.function.name or ""
                known["arguments"] += call.function.arguments or ""
    return text, thinking, [calls[index] for index in sorted(calls)], reason, usage


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("limits", [{}, {"max_tokens": 3}, {"stop": ["the"]}])
async def test_openai_batch_and_stream_say_the_same(url, question, limits):
    asked = {
        "model": "simulator",
        "messages": [{"role": "user", "content": question}],
        "tools": OPENAI_TOOLS,
        **limits,
    }
    async with openai_client(url) as client:
        whole = await client.chat.completions.create(**asked)
        stream = await client.chat.completions.create(
            **asked, stream=True, stream_options={"include_usage": True}
        )
        text, thinking, calls, reason, usage = folded_chunks([chunk async for chunk in stream])
        if whole.choices[0].finish_reason in ("stop", "tool_calls"):  # it raises for the others
            async with client.chat.completions.stream(**asked) as helper:
                final = await helper.get_final_completion()
            assert final.choices[0].message.content == whole.choices[0].message.content
            assert final.choices[0].finish_reason == whole.choices[0].finish_reason
    message = whole.choices[0].message
    assert whole._request_id.startswith("req_")
    assert text == message.content
    assert thinking == (getattr(message, "reasoning_content", None) or "")
    assert calls == [
        {"id": call.id, **call.function.model_dump(include={"name", "arguments"})}
        for call in message.tool_calls or []
    ]
    assert reason == whole.choices[0].finish_reason
    assert usage == whole.usage


def plain(response):
    """A response without what differs from one request to the next."""
    text = response.model_dump_json(exclude={"created_at", "completed_at"})
    return json.loads(re.sub(r"_[0-9a-f]{24}(?=[_\"])", "_", text))


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("limits", [{}, {"max_output_tokens": 3}])
async def test_responses_in_batch_and_stream_are_the_same(url, question, limits):
    asked = {
        "model": "simulator",
        "instructions": "Be brief.",
        "input": question,
        "tools": RESPONSES_TOOLS,
        **limits,
    }
    async with openai_client(url) as client:
        whole = await client.responses.create(**asked)
        raw = [event async for event in await client.responses.create(**asked, stream=True)]
        if whole.status == "completed":
            async with client.responses.stream(**asked) as helper:
                final = await helper.get_final_response()
            assert final.output_text == whole.output_text
    assert whole._request_id.startswith("req_")
    assert [event.sequence_number for event in raw] == list(range(len(raw)))
    assert raw[0].type == "response.created"
    assert raw[-1].type == f"response.{whole.status}"
    assert plain(raw[-1].response) == plain(whole)
    grown = [event.delta for event in raw if event.type == "response.output_text.delta"]
    assert "".join(grown) == whole.output_text
    arguments = [e.delta for e in raw if e.type == "response.function_call_arguments.delta"]
    calls = [item for item in whole.output if item.type == "function_call"]
    assert "".join(arguments) == "".join(call.arguments for call in calls)
    done = [event.item for event in raw if event.type == "response.output_item.done"]
    assert done == raw[-1].response.output


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("limits", [{}, {"max_tokens": 3}, {"stop_sequences": ["the"]}])
async def test_anthropic_batch_and_stream_say_the_same(url, question, limits):
    asked = {
        "model": "simulator",
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": question or "?"}],
        "tools": ANTHROPIC_TOOLS,
        **limits,
    }
    # A call that is cut short has arguments that are no JSON.
    async with anthropic_client(url) as client:
        whole = await client.messages.create(**asked)
        async with client.messages.stream(**asked) as helper:
            final = await helper.get_final_message()
        raw = [event async for event in await client.messages.create(**asked, stream=True)]
        counted = await client.messages.count_tokens(
            model="simulator", messages=asked["messages"], tools=ANTHROPIC_TOOLS
        )
    for field in ("stop_reason", "stop_sequence", "usage", "model", "role"):
        assert getattr(final, field) == getattr(whole, field)
    assert [block.model_dump(exclude={"parsed_output"}) for block in final.content] == [
        block.model_dump() for block in whole.content
    ]
    assert whole.usage.input_tokens == counted.input_tokens
    assert raw[0].type == "message_start"
    assert raw[0].message.usage.input_tokens == counted.input_tokens
    assert raw[-1].type == "message_stop"
    starts = [event.index for event in raw if event.type == "content_block_start"]
    stops = [event.index for event in raw if event.type == "content_block_stop"]
    assert starts == stops == list(range(len(starts)))


async def test_both_wire_formats_give_the_same_answer(url):
    question = [{"role": "user", "content": "What is the same?"}]
    async with openai_client(url) as one, anthropic_client(url) as two:
        of_openai = await one.chat.completions.create(model="simulator", messages=question)
        of_anthropic = await two.messages.create(
            model="simulator", max_tokens=999, messages=question
        )
    assert of_openai.choices[0].message.content == of_anthropic.content[0].text
    assert of_openai.usage.completion_tokens == of_anthropic.usage.output_tokens
    assert of_openai.usage.prompt_tokens == of_anthropic.usage.input_tokens


def test_the_synchronous_clients_work_as_well(run_llm):
    question = [{"role": "user", "content": "Hello"}]
    with openai_client(run_llm, openai.OpenAI, httpx2.Client) as client:
        stream = client.chat.completions.create(model="simulator", messages=question, stream=True)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    with (
        anthropic_client(run_llm, anthropic.Anthropic, httpx2.Client) as client,
        client.messages.stream(model="simulator", max_tokens=999, messages=question) as helper,
    ):
        assert "".join(helper.text_stream) == text


def test_the_session_in_the_docs_is_what_one_sees(run_llm):
    page = Path(__file__).parents[2] / "docs" / "llm.md"
    text = page.read_text("utf-8")
    (session,) = re.findall(r"^```pycon\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    session = session.replace("http://127.0.0.1:8000", run_llm)
    test = doctest.DocTestParser().get_doctest(session, {}, "session", str(page), 0)
    failures: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test, out=failures.append, clear_globs=False)
    test.globs["one"].close()
    test.globs["two"].close()
    assert not failures, "".join(failures)


@pytest.fixture
def run_llm(start_service, monkeypatch):
    monkeypatch.setenv("DUAL_MODE_LLM_RATE", "0")
    return start_service("--log-level", "warning").url


async def test_a_conversation_with_tools_goes_round(url):
    call = {"id": "c1", "name": "weather", "input": {"city": "Paris"}}
    async with openai_client(url) as client:
        asked = await client.chat.completions.create(
            model="simulator",
            messages=[{"role": "user", "content": "Go"}],
            tools=OPENAI_TOOLS,
            tool_choice={"type": "function", "function": {"name": "time"}},
        )
        (made,) = asked.choices[0].message.tool_calls
        assert (made.function.name, json.loads(made.function.arguments)) == (
            "time",
            {"city": "text"},
        )
        answered = await client.chat.completions.create(
            model="simulator",
            messages=[
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "Go"}]},
                asked.choices[0].message.model_dump(exclude_none=True),
                {"role": "tool", "tool_call_id": made.id, "content": "12:00"},
            ],
            tools=OPENAI_TOOLS,
        )
        assert "12:00" in answered.choices[0].message.content
        called = await client.responses.create(
            model="simulator",
            input=[{"role": "user", "content": "Go"}],
            tools=RESPONSES_TOOLS,
            tool_choice={"type": "function", "name": "time"},
        )
        (made,) = called.output
        assert (made.name, json.loads(made.arguments)) == ("time", {"city": "text"})
        result = {"type": "function_call_output", "call_id": made.call_id, "output": "12:00"}
        answered = await client.responses.create(
            model="simulator",
            instructions="Be brief.",
            input=[
                {"role": "user", "content": [{"type": "input_text", "text": "Go"}]},
                made.model_dump(exclude_none=True),
                result,
            ],
            tools=RESPONSES_TOOLS,
        )
        assert "12:00" in answered.output_text
    async with anthropic_client(url) as client:
        asked = await client.messages.create(
            model="simulator",
            max_tokens=99,
            messages=[{"role": "user", "content": "Go"}],
            tools=ANTHROPIC_TOOLS,
            tool_choice={"type": "any"},
        )
        assert asked.stop_reason == "tool_use"
        assert asked.content[0].input == {"city": "text"}
        answered = await client.messages.create(
            model="simulator",
            max_tokens=99,
            system=[{"type": "text", "text": "Be brief."}],
            messages=[
                {"role": "user", "content": "Go"},
                {"role": "assistant", "content": [{"type": "tool_use", **call}]},
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "Sunny"}],
                },
            ],
            tools=ANTHROPIC_TOOLS,
        )
        assert "Sunny" in answered.content[0].text


@pytest.mark.parametrize("stream", [False, True])
async def test_refusals_have_their_status_and_the_type_of_the_wire_format(url, stream):
    async def ask_openai(question, **more):
        async with openai_client(url) as client:
            await client.chat.completions.create(
                messages=[{"role": "user", "content": question}],
                stream=stream,
                **{"model": "simulator", **more},
            )

    async def ask_responses(question, **more):
        async with openai_client(url) as client:
            asked = {"model": "simulator", "input": question, "stream": stream, **more}
            await client.responses.create(**asked)

    async def ask_anthropic(question, **more):
        async with anthropic_client(url) as client:
            await client.messages.create(
                messages=[{"role": "user", "content": question}],
                max_tokens=99,
                stream=stream,
                **{"model": "simulator", **more},
            )

    asking = ((ask_openai, openai), (ask_responses, openai), (ask_anthropic, anthropic))
    for ask, sdk in asking:
        with pytest.raises(sdk.RateLimitError) as raised:
            await ask("limited")
        assert raised.value.response.headers["retry-after"] == "99"
        assert raised.value.request_id.startswith("req_")
        with pytest.raises(sdk.NotFoundError):
            await ask("Hi", model="none-such")
        with pytest.raises(sdk.BadRequestError):
            await ask("Hi", extra_body={"temperature": 3})
        with pytest.raises(sdk.InternalServerError) as overloaded:
            await ask("overloaded")
        assert overloaded.value.status_code == 529


async def test_a_failure_in_the_stream_is_the_sdks_own_error(url):
    said = []
    question = [{"role": "user", "content": "breaks"}]
    async with openai_client(url) as client:
        stream = await client.chat.completions.create(
            model="simulator", messages=question, stream=True
        )
        with pytest.raises(openai.APIError, match="on purpose"):  # noqa: PT012
            async for chunk in stream:
                said.append(chunk.choices[0].delta.content or "")
        assert "".join(said) == "one two"
        events = []
        with pytest.raises(openai.APIError, match="on purpose"):  # noqa: PT012
            async for event in await client.responses.create(
                model="simulator", input="breaks", stream=True
            ):
                events.append(event)
        assert events[-1].type == "response.failed"
        assert events[-1].response.status == "failed"
    async with anthropic_client(url) as client:
        stream = await client.messages.create(
            model="simulator", max_tokens=99, messages=question, stream=True
        )
        with pytest.raises(anthropic.APIStatusError) as raised:
            async for _ in stream:
                pass
        assert raised.value.body["error"]["type"] == "overloaded_error"


async def test_a_cut_connection_is_one_to_both(url):
    question = [{"role": "user", "content": "cut off"}]
    asked = {"model": "simulator", "messages": question, "stream": True}
    async with openai_client(url) as client:
        with pytest.raises((httpx2.RemoteProtocolError, openai.APIConnectionError)):
            async for _ in await client.chat.completions.create(**asked):
                pass
    async with anthropic_client(url) as client:
        with pytest.raises((httpx2.RemoteProtocolError, anthropic.APIConnectionError)):
            async for _ in await client.messages.create(max_tokens=9, **asked):
                pass
        with pytest.raises(anthropic.APIStatusError) as raised:
            await client.messages.create(max_tokens=9, **{**asked, "stream": False})
        assert raised.value.status_code == 502


async def test_a_silence_is_kept_warm_in_a_way_both_survive(tmp_path):
    (tmp_path / "s.toml").write_text('[[reply]]\ntext = "late"\npace = { first = 0.6 }')
    app = FastAPI()
    client = LLMClient(Simulator(script=Script.load(tmp_path / "s.toml")))
    app.include_router(llm_routes(client))
    install(app, grace=0.05, heartbeat=0.05)
    question = [{"role": "user", "content": "?"}]
    async with serving(app) as url:
        async with openai_client(url) as sdk:
            stream = await sdk.chat.completions.create(
                model="simulator", messages=question, stream=True
            )
            assert folded_chunks([chunk async for chunk in stream])[0] == "late"
        async with anthropic_client(url) as sdk:
            stream = await sdk.messages.create(
                model="simulator", max_tokens=9, messages=question, stream=True
            )
            types = [event.type async for event in stream]
        assert types[0] == "message_start"
        assert types[-1] == "message_stop"
        async with httpx2.AsyncClient(base_url=url, verify=False) as http:
            body = {"model": "simulator", "messages": question, "stream": True, "max_tokens": 9}
            assert ": ping\n" in (await http.post("/v1/chat/completions", json=body)).text
            assert "event: ping\n" in (await http.post("/v1/messages", json=body)).text


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_stops_the_model(path, stream):
    ends = []
    closed = asyncio.Event()

    def report(spent):
        ends.append(spent)
        closed.set()

    provider = provider_by_settings(LLMSettings(first=0.05, rate=0.05))
    app = FastAPI()
    app.include_router(llm_routes(LLMClient(provider, on_end=report)))
    body = {
        "model": "simulator",
        "max_tokens": 99,
        "stream": stream,
        "messages": [{"role": "user", "content": "Hi"}],
        "input": "Hi",
    }
    async with serving(app) as url, httpx2.AsyncClient(base_url=url, verify=False) as http:
        if stream:
            async with http.stream("POST", path, json=body) as response:
                async for line in response.aiter_lines():
                    if "You" in line:
                        break
        else:
            while not closed.is_set():  # the first may leave before the model was asked
                with pytest.raises(httpx2.TimeoutException):
                    await http.post(path, json=body, timeout=0.3)
        await asyncio.wait_for(closed.wait(), 60)
    assert ends[0].outcome == "abandoned"
    assert ends[0].usage.output_tokens == (1 if stream else 0)


PATHS = {
    "openai": "/v1/chat/completions",
    "responses": "/v1/responses",
    "anthropic": "/v1/messages",
}
BAD = [
    ("openai", {"model": None}, "model"),
    ("openai", {"messages": None}, "messages"),
    ("openai", {"model": "simulator", "messages": []}, "messages"),
    ("openai", {"model": "simulator", "messages": "Hi"}, "messages"),
    ("openai", {"n": 2}, "n"),
    ("openai", {"logprobs": True}, "logprobs"),
    ("openai", {"stream_options": {"include_usage": True}}, "stream_options"),
    ("openai", {"stream": "yes"}, "stream"),
    ("openai", {"max_tokens": -1}, "max_tokens"),
    ("openai", {"max_completion_tokens": 0}, "max_completion_tokens"),
    ("openai", {"temperature": 3}, "temperature"),
    ("openai", {"stop": ["a", 3]}, "stop.1"),
    ("openai", {"functions": [{"name": "f"}]}, "functions"),
    ("openai", {"function_call": {"name": "f"}}, "function_call"),
    ("openai", {"response_format": {"type": "xml"}}, "response_format.type"),
    ("openai", {"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
    ("openai", {"tools": [{"type": "web"}], "tool_choice": "required"}, "tools[0]"),
    ("openai", {"tools": [{"name": "f"}]}, "tools[0]"),
    ("openai", {"tool_choice": "required"}, "tool_choice"),
    ("openai", {"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
    (
        "openai",
        {"messages": [{"role": "tool", "content": "x", "tool_call_id": "y"}]},
        "messages[0]",
    ),
    (
        "openai",
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "messages[0].content[0].image_url.url",
    ),
    (
        "openai",
        {"messages": [{"role": "user", "content": [{"type": "hologram"}]}]},
        "messages[0].content[0].type",
    ),
    ("responses", {"model": None}, "model"),
    ("responses", {"input": None}, "input"),
    ("responses", {"input": []}, "input"),
    ("responses", {"input": [3]}, "input[0]"),
    ("responses", {"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
    (
        "responses",
        {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
        "input[0].content[0].image_url",
    ),
    (
        "responses",
        {"input": [{"type": "function_call_output", "call_id": "x", "output": "y"}]},
        "messages[0]",
    ),
    ("responses", {"input": [{"type": "function_call"}]}, "messages.0.tool_calls.0.id"),
    ("responses", {"max_output_tokens": 0}, "max_output_tokens"),
    ("responses", {"max_output_tokens": True}, "max_output_tokens"),
    ("responses", {"temperature": 3}, "temperature"),
    ("responses", {"previous_response_id": "resp_1"}, "previous_response_id"),
    ("responses", {"background": True}, "background"),
    ("responses", {"reasoning": "much"}, "reasoning"),
    ("responses", {"stream_options": {"include_obfuscation": False}}, "stream_options"),
    ("responses", {"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
    ("responses", {"text": {"format": {"type": "grammar"}}}, "text.format"),
    ("responses", {"tools": [{"type": "web_search"}], "tool_choice": "required"}, "tools[0]"),
    ("responses", {"tool_choice": {"type": "web_search"}}, "tool_choice"),
    ("responses", {"stream": "yes"}, "stream"),
    ("anthropic", {"max_tokens": None}, "max_tokens"),
    ("anthropic", {"max_tokens": 0}, "max_tokens"),
    ("anthropic", {"messages": []}, "messages"),
    ("anthropic", {"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
    ("anthropic", {"thread": {"type": "create"}}, "thread"),
    ("anthropic", {"thinking": {"type": "hard"}}, "thinking.type"),
    ("anthropic", {"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "source"),
    ("anthropic", {"container": "x"}, "container: not supported"),
    (
        "anthropic",
        {"output_config": {"effort": "low", "format": {"type": "json_schema"}}},
        "output_config.format.schema",
    ),
    (
        "anthropic",
        {"tools": [{"type": "bash_20250124", "name": "bash"}], "tool_choice": {"type": "any"}},
        "tools.0.type",
    ),
]


async def test_a_bad_request_is_refused_and_names_the_field(url):
    good = {"model": "simulator", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    async with httpx2.AsyncClient(base_url=url, verify=False) as http:
        for name, change, expected in BAD:
            body = good if name != "responses" else {"model": "simulator", "input": "x"}
            response = await http.post(PATHS[name], json={**body, **change})
            assert response.status_code == 400, (change, response.text)
            error = response.json()["error"]
            assert error["type"] == "invalid_request_error", change
            if name != "anthropic":
                assert error["param"] == expected, change
                assert error["message"], change
            else:
                assert expected in error["message"], change
                assert response.json()["request_id"] == response.headers["request-id"]


@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/messages/count_tokens"],
)
async def test_what_is_no_json_object_or_too_large_is_refused(url, path):
    async with httpx2.AsyncClient(base_url=url, verify=False) as http:
        for content, status in (
            (b"", 400),
            (b"{", 400),
            (b"[]", 400),
            (b"\xff", 400),
            (b"[" * 10_000, 400),
            (b"[" * 100_000, 400),
            (b" " * (32 * 1024 * 1024 + 1), 413),
        ):
            response = await http.post(path, content=content)
            assert response.status_code == status
            assert response.json()["error"]["message"]

        async def undeclared():
            for _ in range(16):
                yield b" " * 65536
            yield b" "

        assert (await http.post(path, content=undeclared())).status_code == 413


@pytest.mark.parametrize("name", PATHS)
async def test_what_the_server_cannot_do_is_a_problem_in_the_wire_format(name):
    app = FastAPI()
    app.include_router(llm_routes(LLMClient(Simulator())))
    install(app, batch_bytes=50)
    body = {
        "model": "simulator",
        "max_tokens": 99,
        "input": "x",
        "messages": [{"role": "user", "content": "x"}],
    }
    transport = StreamingTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        too_large = await http.post(PATHS[name], json=body)
        assert too_large.status_code == 413
        assert "exceeds 50 bytes" in too_large.json()["error"]["message"]
        await drain(app)
        for stream in (True, False):
            draining = await http.post(PATHS[name], json={**body, "stream": stream})
            assert draining.status_code == 503
            assert draining.headers["retry-after"] == "1"
            assert "shutting down" in draining.json()["error"]["message"]


async def test_the_models_are_listed_in_both_wire_formats(url):
    async with openai_client(url) as client:
        assert [model.id async for model in client.models.list()] == ["simulator"]
    async with anthropic_client(url) as client:
        assert [model.id async for model in client.models.list()] == ["simulator"]
