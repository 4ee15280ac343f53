"""What `agent_events` takes and closes; the Claude Agent SDK's messages; raw chunks of the SDKs."""

import asyncio
import contextlib
from types import SimpleNamespace

import anthropic
import openai
import pytest
from fastapi import FastAPI

from dual_mode_streaming.llm import (
    EventType,
    LLMClient,
    Simulator,
    StreamEvent,
    TextDelta,
    agent_events,
    agent_text,
    fold,
    llm_routes,
)
from dual_mode_streaming.testing import serving


async def folded(source):
    return fold([event async for event in agent_events(source)])


def thing(**fields):
    return SimpleNamespace(**fields)


# The Claude Agent SDK. Its messages have no field that names their kind.


def assistant(*blocks, identity="m1", parent=None, error=None, **fields):
    return thing(
        content=list(blocks),
        model="claude",
        parent_tool_use_id=parent,
        error=error,
        message_id=identity,
        **fields,
    )


def user(*blocks):
    return thing(content=list(blocks), uuid="u", parent_tool_use_id=None)


def partial(event, parent=None):
    return thing(uuid="u", session_id="s", event=event, parent_tool_use_id=parent)


def result(text="Done.", **fields):
    usage = {"input_tokens": 3, "cache_read_input_tokens": 10, "output_tokens": 4}
    told = {"subtype": "success", "is_error": False, "num_turns": 1, "stop_reason": "end_turn"}
    return thing(**{**told, "usage": usage, "result": text, "session_id": "s", **fields})


SYSTEM = thing(subtype="init", data={})
TEXT, TOOL = thing(text="Done."), thing(id="t1", name="Read", input={"path": "a"})
RETURNED = thing(tool_use_id="t1", content=[{"type": "text", "text": "of a"}], is_error=None)
WHOLE = [
    SYSTEM,
    assistant(thing(thinking="hm", signature="s"), identity="m0"),
    assistant(thing(text="Reading."), identity="m0"),
    assistant(TOOL, identity="m0"),
    user(RETURNED),
    assistant(TEXT),
    result(),
]


def parts(identity, *blocks):
    """The partial messages of one message of the model."""
    yield partial({"type": "message_start", "message": {"id": identity}})
    for index, (begin, delta) in enumerate(blocks):
        event = {"type": "content_block_start", "index": index, "content_block": begin}
        yield partial(event)
        if delta is not None:
            yield partial({"type": "content_block_delta", "index": index, "delta": delta})
        yield partial({"type": "content_block_stop", "index": index})
    reason = "tool_use" if blocks[-1][0]["type"] == "tool_use" else "end_turn"
    yield partial({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {}})
    yield partial({"type": "message_stop"})


def said(text):
    return {"type": "text", "text": ""}, {"type": "text_delta", "text": text}


PARTIAL = [
    SYSTEM,
    *parts(
        "m0",
        ({"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": "hm"}),
        said("Reading."),
        (
            {"type": "tool_use", "id": "t1", "name": "Read", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"path": "a"}'},
        ),
    ),
    *WHOLE[1:5],
    *parts("m1", said("Done.")),
    *WHOLE[5:],
]


@pytest.mark.parametrize("messages", [WHOLE, PARTIAL], ids=["whole", "partial"])
async def test_a_session_of_claude_is_one_answer(messages):
    answer = await folded(messages)
    message = answer.message
    assert (message.thinking, message.content) == ("hm", "Reading.Done.")
    assert [(c.id, c.name, c.arguments) for c in message.tool_calls] == [
        ("t1", "Read", '{"path": "a"}')
    ]
    assert [(r.id, r.content, r.is_error) for r in message.tool_results] == [("t1", "of a", False)]
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (13, 4)
    assert answer.finish_reason == "stop"
    text = "".join([piece async for piece in agent_text(messages)])
    assert text == "Reading.\n\nDone."


async def test_a_subagents_messages_are_left_out():
    inner = [
        partial({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}}, "t"),
        assistant(thing(text="inner"), parent="t"),
    ]
    assert (await folded([*inner, assistant(TEXT), result()])).message.content == "Done."


async def test_a_result_without_messages_is_the_text():
    assert (await folded([SYSTEM, result("Compacted.")])).message.content == "Compacted."


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (result("API Error: 529", is_error=True, api_error_status=529), "API Error: 529"),
        (result(None, is_error=True, errors=["one", "two"]), "one; two"),
        (result(None, is_error=True, subtype="error_max_turns"), "error_max_turns"),
    ],
)
async def test_a_session_that_fails_ends_in_an_error(end, words):
    failed = assistant(thing(text="API Error: 529"), error="overloaded", identity="x")
    events = [event async for event in agent_events([SYSTEM, failed, end])]
    assert [event.type for event in events] == [EventType.ERROR]
    assert events[0].error == words
    with pytest.raises(RuntimeError, match=words):
        [piece async for piece in agent_text([failed, end])]


async def test_a_failed_attempt_that_is_followed_by_an_answer_is_none():
    failed = assistant(thing(text="API Error"), error="overloaded", identity="x")
    assert (await folded([failed, assistant(TEXT), result()])).message.content == "Done."


# What a source may be.


class Source:
    """An async iterator that knows whether it was closed."""

    def __init__(self, items=("a", "b"), fails=None):
        self.items, self.fails, self.closed, self.cancelled = list(items), fails, False, False

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.items:
            return self.items.pop(0)
        if self.fails:
            raise self.fails
        raise StopAsyncIteration

    async def aclose(self):
        self.closed = True


class Run:
    """The object of a run, which goes on until it is cancelled."""

    def __init__(self, source):
        self.source, self.cancelled = source, False

    def stream_events(self):
        return self.source

    def cancel(self):
        self.cancelled = True


async def given(source):
    return source


@contextlib.asynccontextmanager
async def managed(source):
    yield source


WAYS = {
    "iterator": lambda source: source,
    "awaitable": given,
    "context manager": managed,
    "run": Run,
    "awaitable of a run": lambda source: given(Run(source)),
    "context manager of a run": lambda source: managed(Run(source)),
}


@pytest.mark.parametrize("way", WAYS)
async def test_every_kind_of_source_is_read_and_closed(way):
    source = Source()
    assert (await folded(WAYS[way](source))).message.content == "ab"
    assert source.closed


@pytest.mark.parametrize("way", WAYS)
async def test_every_kind_of_source_is_closed_when_it_is_left(way):
    source = Source()
    opened = WAYS[way](source)
    async with contextlib.aclosing(agent_events(opened)) as events:
        assert (await anext(events)).text_delta.content == "a"
    assert source.closed
    if way == "run":
        assert opened.cancelled


async def test_a_run_that_ended_is_not_cancelled():
    run = Run(Source())
    await folded(run)
    assert not run.cancelled


async def test_plain_iterables_are_read():
    assert (await folded(iter(["a", "b"]))).message.content == "ab"
    assert (await folded(["a"])).message.content == "a"
    assert (await folded([])).message.content == ""


@pytest.mark.parametrize("source", [5, None, "text", {"a": 1}, object(), b"x"])
async def test_what_is_no_source_is_refused(source):
    with pytest.raises(TypeError, match="is no stream of an agent"):
        await folded(source)


async def test_items_that_nobody_knows_are_refused_by_their_names():
    with pytest.raises(TypeError, match="of a known kind, but int, object"):
        await folded([5, object()])
    assert (await folded([5, "a"])).message.content == "a"


async def test_what_the_source_raises_is_raised_and_the_source_is_closed():
    source = Source(fails=RuntimeError("boom"))
    with pytest.raises(RuntimeError, match="boom"):
        await folded(source)
    assert source.closed


async def test_events_pass_through_and_end_once():
    text = StreamEvent(type=EventType.TEXT_DELTA, text_delta=TextDelta(content="a"))
    end = StreamEvent(type=EventType.MESSAGE_COMPLETE, finish_reason="length", usage={})
    answer = [event async for event in agent_events([text, end])]
    assert answer[0] == text
    assert [event.type for event in answer].count(EventType.MESSAGE_COMPLETE) == 1
    assert answer[-1].finish_reason == "length"
    failed = StreamEvent(type=EventType.ERROR, error="no")
    assert [event async for event in agent_events([text, failed, text])] == [text, failed]


# Raw chunks of the official SDKs, from the service.


def of_chat(client, **options):
    return client.chat.completions.create(
        model="simulator", messages=[{"role": "user", "content": "Hello"}], **options
    )


def of_responses(client):
    return client.responses.create(model="simulator", input="Hello", stream=True)


def of_messages(client, **options):
    return client.messages.create(
        model="simulator",
        max_tokens=1000,
        messages=[{"role": "user", "content": "Hello"}],
        **options,
    )


def helped(client):
    return client.messages.stream(
        model="simulator", max_tokens=1000, messages=[{"role": "user", "content": "Hello"}]
    )


RAW = {
    "chat": (openai, lambda client: of_chat(client, stream=True)),
    "responses": (openai, of_responses),
    "messages": (anthropic, lambda client: of_messages(client, stream=True)),
    "messages.stream": (anthropic, helped),
}


@pytest.fixture
async def url():
    app = FastAPI()
    app.include_router(llm_routes(LLMClient(Simulator(), attempts=1)))
    async with serving(app) as address:
        yield address


@pytest.mark.parametrize(
    ("name", "is_async"), [*((name, True) for name in RAW), ("chat", False), ("messages", False)]
)
async def test_the_chunks_of_the_sdks_are_read(name, is_async, url):
    sdk, ask = RAW[name]
    if sdk is openai:
        base, make = f"{url}/v1", openai.AsyncOpenAI if is_async else openai.OpenAI
    else:
        base, make = url, anthropic.AsyncAnthropic if is_async else anthropic.Anthropic
    client = make(base_url=base, api_key="any")
    if is_async:
        answer = await folded(ask(client))
        await client.close()
    else:
        answer = await folded(await asyncio.to_thread(ask, client))
        client.close()
    assert answer.message.content.startswith("You said: Hello")
    assert answer.finish_reason == "stop"


HELLO = {
    "chat": {"choices": [{"index": 0, "delta": {"content": "a"}}]},
    "responses": {"type": "response.output_text.delta", "output_index": 0, "delta": "a"},
    "messages": {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "a"},
    },
}
FAILED = {
    "chat": {"choices": [], "error": {"message": "slow down", "code": 429}},
    "responses": {"type": "error", "code": "rate_limit_exceeded", "message": "slow down"},
    "messages": {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}},
}


@pytest.mark.parametrize("name", HELLO)
async def test_an_error_in_the_chunks_of_an_sdk_is_the_last_event(name):
    events = [event async for event in agent_events([HELLO[name], FAILED[name], HELLO[name]])]
    assert [event.type for event in events] == [EventType.TEXT_DELTA, EventType.ERROR]
    assert (events[-1].error, events[-1].error_type) == ("slow down", "rate_limit")


@pytest.mark.parametrize("name", HELLO)
async def test_chunks_of_an_sdk_that_are_cut_end_in_an_error(name):
    events = [event async for event in agent_events([HELLO[name]])]
    assert [event.type for event in events] == [EventType.TEXT_DELTA, EventType.ERROR]
    assert events[-1].error_type == "stream_truncated"
