"""The simulator: deterministic, with a pace, a script and intended failures."""

import asyncio
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_mode_streaming.llm import (
    ChatRequest,
    EventType,
    NamedTool,
    Pace,
    ProviderError,
    Script,
    Simulator,
    Tool,
    collect,
)
from dual_mode_streaming.llm.simulator._tokens import count_text, tokens_of
from dual_mode_streaming.testing import run_with_virtual_clock

WEATHER = Tool(
    name="weather",
    parameters={
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "minimum": 3},
            "unit": {"enum": ["C", "F"]},
            "parts": {"type": "array", "items": {"type": "boolean"}},
            "note": {"type": "string"},
        },
        "required": ["city", "days", "unit", "parts"],
    },
)


def ask(text="Hello", **options):
    return ChatRequest.model_validate({"messages": text, **options})


def script(text, tmp_path):
    path = tmp_path / "script.toml"
    path.write_text(text)
    return Script.load(path)


def test_a_script_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"^the script .*no\.toml: No such file"):
        Script.load(tmp_path / "no.toml")


async def test_the_same_request_gives_the_same_answer_streamed_or_not():
    for request in (ask(), ask(thinking=True), ask(seed=3), ask(tools=(WEATHER,))):
        one = await collect(Simulator().stream(request))
        assert one == await collect(Simulator(Pace(jitter=1)).stream(request))
        assert one == await Simulator().complete(request)
    assert await Simulator().complete(ask()) != await Simulator().complete(ask(seed=3))
    text = (await Simulator().complete(ask())).message.content
    assert text.startswith("You said: Hello\n\nThe ")


@given(st.text())
def test_tokens_are_the_text_in_pieces(text):
    assert "".join(tokens_of(text)) == text
    assert count_text(text) == len(tokens_of(text))


async def test_usage_counts_the_answer_and_what_count_tokens_counts():
    request = ask("How many tokens are these?", thinking=True, tools=(WEATHER,))
    events = [event async for event in Simulator().stream(request)]
    deltas = [e for e in events if e.text_delta or (e.thinking_delta and e.thinking_delta.content)]
    usage = events[-1].usage
    assert usage.output_tokens == len(deltas)
    assert usage.input_tokens == await Simulator().count_tokens(request) > 10


@pytest.mark.parametrize("limit", [1, 5, 8, 10_000])
async def test_max_tokens_cuts_the_same_answer_short(limit):
    whole = (await Simulator().complete(ask())).message.content
    cut = await Simulator().complete(ask(max_tokens=limit))
    assert whole.startswith(cut.message.content)
    assert cut.usage.output_tokens == min(limit, count_text(whole))
    assert cut.finish_reason == ("length" if limit < 100 else "stop")


async def test_a_stop_sequence_ends_it_even_across_tokens():
    whole = (await Simulator().complete(ask())).message.content
    cut = await Simulator().complete(ask(stop=("nowhere", "llo\n\nThe")))
    assert cut.message.content == "You said: He"
    assert (cut.finish_reason, cut.stop_sequence) == ("stop", "llo\n\nThe")
    assert len(whole) > 20


async def test_a_demanded_tool_call_has_arguments_by_the_schema():
    for choice in ("required", NamedTool(name="weather")):
        answer = await Simulator().complete(ask(tools=(WEATHER,), tool_choice=choice))
        assert answer.finish_reason == "tool_calls"
        (call,) = answer.message.tool_calls
        assert call.name == "weather"
        arguments = {"city": "text", "days": 3, "unit": "C", "parts": [True]}
        assert json.loads(call.arguments) == arguments
    answer = await Simulator().complete(ask(tools=(Tool(name="f"),), tool_choice="required"))
    assert answer.message.tool_calls[0].arguments == "{}"


def test_it_is_paced_like_a_model():
    async def program():
        clock = asyncio.get_running_loop().time
        pace = Pace(first=2, rate=10)
        times = [clock() async for _ in Simulator(pace).stream(ask(max_tokens=11))]
        assert times[0] == 2
        assert times[10] == pytest.approx(3)
        jitter = Pace(first=2, rate=10, jitter=0.5)
        start = clock()
        times = [clock() - start async for _ in Simulator(jitter).stream(ask(max_tokens=11))]
        assert 1 <= times[0] <= 3
        gaps = [b - a for a, b in itertools.pairwise(times[:11])]
        assert all(0.05 <= gap <= 0.15 for gap in gaps)
        assert len(set(gaps)) > 5

    run_with_virtual_clock(program())


async def test_the_first_matching_reply_is_the_answer(tmp_path):
    says = script(
        """
        [[reply]]
        match = "weather in (?i:paris)"
        thinking = "France."
        tool_calls = [{ name = "weather", arguments = { city = "Paris" } }]

        [[reply]]
        model = "poet"
        text = "Roses"
        usage = { input_tokens = 1, output_tokens = 2 }

        [[reply]]
        match = "secret"
        text = "No."
        finish_reason = "content_filter"
        """,
        tmp_path,
    )
    model = Simulator(script=says)
    assert await model.models() == ["simulator", "poet"]
    answer = await model.complete(ask("the weather in PARIS?"))
    assert answer.message.thinking == "France."
    assert answer.message.tool_calls[0].arguments == '{"city": "Paris"}'
    poem = await model.complete(ask("anything", model="poet"))
    assert (poem.message.content, poem.usage.total_tokens) == ("Roses", 3)
    assert (await model.complete(ask("a secret"))).finish_reason == "content_filter"
    assert (await model.complete(ask("else"))).message.content.startswith("You said: else")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[reply]]\nmatch = '('", r"reply.0.match: .*no regular expression"),
        ("[[reply]]\ntxt = 'a'", "reply.0.txt: Extra inputs"),
        ("[[reply]]\nfailure = { status = 200 }", "reply.0.failure.status: "),
        ("[[reply]]\nfailure = { status = 429, cut = true }", "one of them"),
        ("[[reply]]\nfailure = { retry_after = 4 }", "goes with a status"),
        ("reply =", "script.toml: "),
    ],
)
def test_a_script_that_is_wrong_is_one_line_of_error(text, message, tmp_path):
    with pytest.raises(ValueError, match=message) as raised:
        script(text, tmp_path)
    assert "\n" not in str(raised.value)


async def test_failures_on_purpose(tmp_path):
    fails = script(
        """
        [[reply]]
        match = "twice"
        text = "At last."
        failure = { status = 429, retry_after = 2.5, times = 2 }

        [[reply]]
        match = "overloaded"
        failure = { status = 529 }

        [[reply]]
        match = "after two"
        text = "one two three"
        failure = { after_tokens = 2, error_type = "server" }

        [[reply]]
        match = "cut"
        text = "one two three"
        failure = { after_tokens = 1, cut = true }
        """,
        tmp_path,
    )
    model = Simulator(script=fails)
    for _ in range(2):
        with pytest.raises(ProviderError) as raised:
            await model.complete(ask("twice"))
        assert (raised.value.status, raised.value.retry_after) == (429, 2.5)
        assert raised.value.error_type == "rate_limit"
    assert (await model.complete(ask("twice"))).message.content == "At last."

    for text, partial, kind in (
        ("overloaded", "", "overloaded"),
        ("after two", "one two", "server"),
        ("cut", "one", "stream_truncated"),
    ):
        got = []
        with pytest.raises(ProviderError) as raised:  # noqa: PT012
            async for event in model.stream(ask(text)):
                got.append(event.text_delta.content)
        assert ("".join(got), raised.value.error_type) == (partial, kind)
    with pytest.raises(ProviderError, match="no model 'gpt'"):
        await model.complete(ask(model="gpt"))


def test_a_stall_is_a_silence(tmp_path):
    text = '[[reply]]\ntext = "one two"\nfailure = { after_tokens = 1, stall = 50 }'

    async def program():
        clock = asyncio.get_running_loop().time
        stream = Simulator(script=script(text, tmp_path)).stream(ask())
        assert [(clock(), e.type) async for e in stream] == [
            (0, EventType.TEXT_DELTA),
            (50, EventType.TEXT_DELTA),
            (50, EventType.MESSAGE_COMPLETE),
        ]

    run_with_virtual_clock(program())


SCHEMAS = [
    {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}}, "required": ["a"]},
    {"type": "object", "properties": {"a": {"enum": ["x", "y"]}, "b": {"const": 5}}},
    {"type": "array", "items": {"type": "number", "exclusiveMinimum": 2, "maximum": 3}},
    {"type": "array", "items": {"type": "integer"}, "minItems": 3, "uniqueItems": True},
    {"type": "array", "items": {"type": "string"}, "minItems": 2, "uniqueItems": True},
    {"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 2, "uniqueItems": True},
    {"type": "array", "prefixItems": [{"type": "null"}, {"type": "boolean"}], "items": False},
    {"type": "integer", "maximum": -5},
    {"type": "integer", "exclusiveMaximum": 0},
    {"type": "integer", "multipleOf": 7, "minimum": 8},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5},
    {"type": "string", "minLength": 9},
    {"type": "string", "maxLength": 2},
    {"type": "string", "format": "date-time"},
    {"type": "string", "format": "uuid"},
    {"type": ["string", "null"]},
    {"anyOf": [{"type": "null"}, {"type": "string"}]},
    {"oneOf": [{"type": "object", "properties": {"k": {"const": "a"}}, "required": ["k"]}]},
    {"allOf": [{"required": ["a"]}, {"properties": {"a": {"type": "boolean"}}}], "type": "object"},
    {
        "$defs": {"step": {"type": "object", "properties": {"why": {"type": "string"}}}},
        "type": "object",
        "properties": {"steps": {"type": "array", "items": {"$ref": "#/$defs/step"}}},
        "required": ["steps"],
        "additionalProperties": False,
    },
    {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                    "all": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                },
                "required": ["next", "all"],
            }
        },
        "$ref": "#/$defs/node",
    },
    {},
    True,
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
async def test_json_for_a_schema_is_valid_and_the_same_each_time(schema):
    jsonschema = pytest.importorskip("jsonschema")
    output = {"json_schema": schema if isinstance(schema, dict) else {}}
    asked = ask("Hi", output=output)
    model = Simulator()
    answers = [(await collect(model.stream(asked))).message.content for _ in range(2)]
    assert answers[0] == answers[1]
    jsonschema.validate(json.loads(answers[0]), schema, format_checker=jsonschema.FormatChecker())


async def test_images_and_files_are_told_by_a_placeholder():
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image", "data": "aGVsbG8=", "media_type": "image/png"},
        {"type": "image", "url": "https://example.com/a.png"},
        {"type": "file", "text": "the text", "name": "notes.txt"},
        {"type": "opaque", "dialect": "anthropic", "value": {"type": "container_upload"}},
    ]
    asked = ask([{"role": "user", "content": content}])
    answer = await collect(Simulator().stream(asked))
    for words in ("[image/png, 5 bytes]", "example.com/a.png", "the text", "[container_upload]"):
        assert words in answer.message.content
