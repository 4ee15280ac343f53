"""Endpoints in the wire formats of front ends: the AI SDK's UI message stream, and AG-UI."""

import asyncio
import contextlib
import json
import urllib.parse
from collections.abc import AsyncIterator
from typing import Annotated, Any

import anthropic
import httpx
import httpx2
import openai
import pytest
from fastapi import Body, FastAPI
from pydantic import BaseModel

from dual_mode_streaming import EventDecoder, dual_mode, install
from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm import (
    EventType,
    Message,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)
from dual_mode_streaming.llm.wire import (
    AGUI,
    AnthropicMessages,
    OpenAIChat,
    OpenAIResponses,
    UIChat,
    UIMessageStream,
)
from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.settings import Settings
from dual_mode_streaming.stores import Limits, MemoryStore
from dual_mode_streaming.testing import serving


class Chunk(BaseModel):
    type: str


def text(content):
    return StreamEvent(type=EventType.TEXT_DELTA, text_delta=TextDelta(content=content))


def call(kind, **fields):
    return StreamEvent(type=kind, tool_call=ToolCallDelta(index=0, **fields))


END = StreamEvent(
    type=EventType.MESSAGE_COMPLETE,
    finish_reason="stop",
    usage=Usage(input_tokens=2, output_tokens=3),
)
THOUGHT = StreamEvent(
    type=EventType.THINKING_DELTA, thinking_delta=ThinkingDelta(content="hm", signature="s")
)
RESULT = StreamEvent(
    type=EventType.TOOL_RESULT, tool_result=ToolResult(id="c1", content='{"degrees": 7}')
)
ANSWER = [
    THOUGHT,
    text("Let me "),
    text("see."),
    call(EventType.TOOL_CALL_START, id="c1", name="weather"),
    call(EventType.TOOL_CALL_DELTA, arguments='{"city":'),
    call(EventType.TOOL_CALL_DELTA, arguments='"Oslo"}'),
    call(EventType.TOOL_CALL_END),
    RESULT,
    {"type": "data-weather", "data": {"degrees": 7}},
    text("7 degrees."),
    END,
]
ERROR = StreamEvent(type=EventType.ERROR, error="no model", error_type="overloaded", status=529)
WHOLE = StreamEvent(
    type=EventType.MESSAGE_COMPLETE,
    finish_reason="tool_calls",
    usage=Usage(),
    message=Message(
        content="Hi",
        tool_calls=(ToolCall(id="c", name="t", arguments="{}"),),
        tool_results=(ToolResult(id="c", content="no", is_error=True),),
    ),
)


def chunks_of(content):
    events = EventDecoder().feed(content)
    return [e.data if e.data == "[DONE]" else json.loads(e.data) for e in events]


def kinds(chunks):
    return [chunk if isinstance(chunk, str) else chunk["type"] for chunk in chunks]


class Gated:
    """A generator that yields a word whenever the test allows it, and says when it has ended."""

    def __init__(self):
        self.allowed = asyncio.Semaphore(0)
        self.runs = 0
        self.closed = asyncio.Event()

    def allow(self, count):
        for _ in range(count):
            self.allowed.release()

    async def words(self, prompt):
        self.runs += 1
        self.closed.clear()
        try:
            for word in ("one ", "two ", "three"):
                await self.allowed.acquire()
                if prompt == "fails":
                    raise Problem(529, "no model")
                yield word
        finally:
            self.closed.set()


class Run(BaseModel):
    runId: str
    prompt: str = ""


def app_of(gated, store="memory", *, record=True, items=None):
    app = FastAPI()
    install(app, store=store, signals=False, owner=lambda request: request.headers.get("who", ""))

    async def made(prompt):
        if items is None:
            async for word in gated.words(prompt):
                yield word
        for item in items or ():
            if isinstance(item, Exception):
                await asyncio.sleep(0.01)  # what came before is sent
                raise item
            yield item

    @dual_mode(wire=UIMessageStream(), record=record)
    def chat(body: UIChat) -> AsyncIterator[Any]:
        return made(body.chat().messages[-1].text)

    @dual_mode(wire=AGUI(), record=record)
    def agui(body: Run) -> AsyncIterator[Any]:
        return made(body.prompt)

    app.post("/chat")(chat)
    app.post("/agui")(agui)
    if record:
        app.get("/chat/{chat_id}/stream")(chat.resume)
        app.post("/chat/{chat_id}/stop")(chat.stop)
        app.get("/agui")(agui.resume)
        app.post("/agui/{runId:path}/stop")(agui.stop)
    return app


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=pytest.mark.full)])
async def two(request, tmp_path):
    """Clients of two workers on one store, or of one in memory twice, and the first's generator."""
    gated, store = Gated(), "memory"
    if request.param == "redis":
        store = request.getfixturevalue("redis").url
    elif request.param == "sqlite":
        store = f"sqlite:{tmp_path / 'file'}"
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for _ in range(1 if store == "memory" else 2):
            url = await stack.enter_async_context(serving(app_of(gated, store)))
            client = httpx.AsyncClient(base_url=url, timeout=60)
            clients.append(await stack.enter_async_context(client))
        yield clients[0], clients[-1], gated


def ui(prompt="Hi", chat="c-1", **more):
    parts = [{"type": "text", "text": prompt}]
    return {"id": chat, "messages": [{"id": "u1", "role": "user", "parts": parts}], **more}


@contextlib.asynccontextmanager
async def streamed(client, method, path, **options):
    async with client.stream(method, path, **options) as response:
        lines = response.aiter_lines()

        async def chunks():
            async for line in lines:
                if line.startswith("data: "):
                    data = line.removeprefix("data: ")
                    yield data if data == "[DONE]" else json.loads(data)

        made = chunks()
        yield response, made
        await made.aclose()


async def asked(app, path, **options):
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        return await client.post(path, **options)


async def rest(chunks):
    return [chunk async for chunk in chunks]


@pytest.mark.parametrize("record", [False, True])
async def test_a_message_of_all_parts_for_usechat(record):
    response = await asked(app_of(None, record=record, items=ANSWER), "/chat", json=ui())
    assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert response.headers["content-type"].startswith("text/event-stream")
    chunks = chunks_of(response.content)
    assert kinds(chunks) == [
        *("start", "start-step", "reasoning-start", "reasoning-delta", "reasoning-end"),
        *("text-start", "text-delta", "text-delta", "text-end"),
        *("tool-input-start", "tool-input-delta", "tool-input-delta", "tool-input-available"),
        *("tool-output-available", "data-weather", "finish-step", "start-step"),
        *("text-start", "text-delta", "text-end", "finish-step", "finish", "[DONE]"),
    ]
    by_kind = dict(zip(kinds(chunks), chunks, strict=True))
    assert by_kind["tool-input-available"]["input"] == {"city": "Oslo"}
    assert by_kind["tool-output-available"]["output"] == {"degrees": 7}
    assert by_kind["finish"]["finishReason"] == "stop"
    assert by_kind["finish"]["messageMetadata"]["usage"]["totalTokens"] == 5
    assert by_kind["start"]["messageId"]
    assert "event:" not in response.text


@pytest.mark.parametrize("record", [False, True])
async def test_a_run_of_all_parts_for_ag_ui(record):
    response = await asked(
        app_of(None, record=record, items=ANSWER), "/agui", json={"runId": "r", "threadId": "t"}
    )
    chunks = chunks_of(response.content)
    assert kinds(chunks) == [
        *("RUN_STARTED", "REASONING_START", "REASONING_MESSAGE_START"),
        *("REASONING_MESSAGE_CONTENT", "REASONING_MESSAGE_END", "REASONING_END"),
        *("TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END"),
        *("TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_ARGS", "TOOL_CALL_END"),
        *("TOOL_CALL_RESULT", "RAW", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT"),
        *("TEXT_MESSAGE_END", "RUN_FINISHED"),
    ]
    usage = [{"inputTokens": 2, "outputTokens": 3, "totalTokens": 5}]
    assert chunks[-1] == {"type": "RUN_FINISHED", "threadId": "t", "runId": "r", "usage": usage}
    frames = response.text.strip().split("\n\n")
    assert all(frame.count("data: ") == 1 for frame in frames)
    if record:
        assert all(frame.startswith("id: ") for frame in frames)


@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize(
    ("items", "ends"),
    [
        (["Hi"], ("finish", "RUN_FINISHED")),
        ([WHOLE], ("finish", "RUN_FINISHED")),
        ([], ("finish", "RUN_FINISHED")),
        ([text("Hi"), ERROR], ("error", "RUN_ERROR")),
        ([ERROR], ("error", "RUN_ERROR")),
        (["Hi", Chunk(type="finish")], ("finish", "RUN_FINISHED")),
        (["Hi", {"type": "error", "errorText": "no"}], ("error", "RUN_FINISHED")),
        (["Hi", {"type": "RUN_ERROR", "message": "no"}], ("finish", "RUN_ERROR")),
        (["Hi", RuntimeError("secret")], ("error", "RUN_ERROR")),
        ([RuntimeError("secret")], (500, 500)),
        ([object()], (500, 500)),
    ],
)
async def test_the_end_of_an_answer_is_true(record, items, ends):
    app = app_of(None, record=record, items=items)
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        for path, end in zip(("/chat", "/agui"), ends, strict=True):
            response = await client.post(path, json=ui() | {"runId": "r"})
            assert "secret" not in response.text
            if isinstance(end, int):
                assert response.status_code == end
                continue
            told = [kind for kind in kinds(chunks_of(response.content)) if kind != "[DONE]"]
            assert told[-1] == end
            assert told.count(end) == 1


async def test_other_forms_are_there_too():
    app = app_of(None, items=["a", "b"])
    json_ = await asked(app, "/chat", json=ui(), headers={"accept": "application/json"})
    plain = await asked(app, "/chat?stream=true", json=ui())
    lines = await asked(app, "/chat", json=ui(), headers={"accept": "application/jsonl"})
    assert json_.json() == {"data": ["a", "b"]}
    assert "event: done" in plain.text
    assert lines.text == '"a"\n"b"\n'


async def test_what_accept_does_not_name_is_refused():
    response = await asked(app_of(None, items=["a"]), "/chat", json=ui(), headers={"accept": "x/y"})
    assert response.status_code == 406


class Odd(UIMessageStream):
    def __init__(self, **members):
        self.__dict__.update(members)


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        (UIMessageStream, "such as UIMessageStream()"),
        ("ui", "has no headers, key"),
        (Odd(resume="all"), "resume is"),
        (Odd(key="the key"), "key is"),
    ],
)
def test_what_is_no_wire_format_is_refused_at_the_decorator(wire, reason):
    with pytest.raises(TypeError, match=reason):
        dual_mode(wire=wire)


async def test_a_refusal_is_in_the_format(two):
    one, _, gated = two
    gated.allow(9)
    refused = await one.post("/chat", json=ui("fails"))
    assert (refused.status_code, refused.text) == (529, "no model")
    refused = await one.post("/agui", json={"runId": "r", "prompt": "fails"})
    assert refused.status_code == 529
    assert refused.json() == {"type": "RUN_ERROR", "message": "no model", "code": "529"}
    wrong = await one.post("/chat", json=ui() | {"messages": [{"role": "user"}]})
    assert (wrong.status_code, wrong.text) == (400, "messages[0].parts: a list is needed")


async def test_a_reload_gets_the_running_answer_whole_and_then_live(two):
    one, other, gated = two
    assert (await other.get("/chat/c-1/stream")).status_code == 204
    async with streamed(one, "POST", "/chat", json=ui()) as (_, chunks):
        gated.allow(1)
        seen = [await anext(chunks) for _ in range(4)]
    assert kinds(seen)[-1] == "text-delta"
    async with streamed(other, "GET", "/chat/c-1/stream") as (response, chunks):
        assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
        again = [await anext(chunks) for _ in range(4)]
        assert again == seen, "with the same id, so no message is there twice"
        gated.allow(2)
        assert kinds(await rest(chunks))[-2:] == ["finish", "[DONE]"]
    assert gated.runs == 1
    assert (await other.get("/chat/c-1/stream")).status_code == 204
    assert (await other.get("/chat/c-2/stream")).status_code == 204
    assert (await other.get("/chat/c-1/stream", headers={"who": "else"})).status_code == 204


async def test_a_stop_by_any_worker_ends_the_model_and_every_reader(two):
    one, other, gated = two
    async with streamed(one, "POST", "/chat", json=ui()) as (_, chunks):
        gated.allow(1)
        for _ in range(4):
            await anext(chunks)
        assert (await other.post("/chat/c-1/stop", headers={"who": "else"})).json() == {
            "stopped": False
        }
        assert (await other.post("/chat/c-1/stop")).json() == {"stopped": True}
        assert gated.closed.is_set()
        assert kinds(await rest(chunks)) == ["text-end", "abort", "[DONE]"]
    assert (await one.get("/chat/c-1/stream")).status_code == 204
    assert (await one.post("/chat/c-1/stop")).json() == {"stopped": False}


async def test_a_run_is_stopped_by_any_worker(two):
    one, other, gated = two
    async with streamed(one, "POST", "/agui", json={"runId": "r/5", "threadId": "t"}) as (
        _,
        chunks,
    ):
        gated.allow(1)
        for _ in range(3):
            await anext(chunks)
        refused = await other.post("/agui/r%2F5/stop", headers={"who": "else"})
        assert (refused.status_code, refused.json()["type"]) == (404, "RUN_ERROR")
        assert (await other.post("/agui/r%2F5/stop")).json() == {"stopped": True}
        assert gated.closed.is_set()
        *_, last = await rest(chunks)
        ended = {"threadId": "t", "runId": "r/5", "outcome": {"type": "cancelled"}}
        assert last == {"type": "RUN_FINISHED", **ended}
    assert (await one.post("/agui/r%2F5/stop")).json() == {"stopped": False}
    joined = await one.get("/agui?runId=r/5")
    assert chunks_of(joined.content)[-1] == last


async def test_a_new_request_of_a_chat_ends_the_one_that_runs(two):
    one, other, gated = two
    async with streamed(one, "POST", "/chat", json=ui()) as (_, first):
        gated.allow(1)
        for _ in range(4):
            await anext(first)
        async with streamed(other, "POST", "/chat", json=ui()) as (_, same):
            assert kinds([await anext(same)]) == ["start"]
            assert gated.runs == 1, "the same request again joins"
        again = ui(trigger="regenerate-message")
        async with streamed(other, "POST", "/chat", json=again) as (_, second):
            assert kinds(await rest(first))[-2:] == ["abort", "[DONE]"]
            gated.allow(3)
            assert kinds(await rest(second))[-2:] == ["finish", "[DONE]"]
    assert gated.runs == 2
    gated.allow(3)
    later = await one.post("/chat", json=again)
    assert kinds(chunks_of(later.content))[-2:] == ["finish", "[DONE]"]
    assert gated.runs == 3


class Lean(BaseModel):
    """What a page sends with `prepareSendMessagesRequest`: the id, and the last message only."""

    id: str
    message: dict[str, Any]


@pytest.mark.parametrize("chat", ["c-1", "ä ö", "a/b", "%", "a?b#c", "..", "💬", "x" * 500])
async def test_a_body_of_ones_own_and_a_chat_id_of_any_characters(chat):
    gated = Gated()
    app = FastAPI()
    install(app, signals=False, grace=0, owner=lambda request: request.headers.get("who", ""))

    @app.post("/chat")
    @dual_mode(wire=UIMessageStream(), record=True)
    def answer(body: Lean) -> AsyncIterator[str]:
        return gated.words(body.message["parts"][0]["text"])

    app.get("/chat/{chat_id:path}/stream")(answer.resume)
    app.post("/chat/{chat_id:path}/stop")(answer.stop)
    body = {"id": chat, "message": ui()["messages"][0]}
    path = f"/chat/{urllib.parse.quote(chat, safe='').replace('..', '%2E%2E')}"
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        async with streamed(client, "POST", "/chat", json=body, headers={"who": "a"}) as (_, mine):
            gated.allow(1)
            for _ in range(3):
                await anext(mine)
            other = streamed(client, "POST", "/chat", json=body, headers={"who": "b"})
            async with other as (_, theirs):  # the same id of another owner is another chat
                assert kinds([await anext(theirs)]) == ["start"]
                stopped = await client.post(f"{path}/stop", headers={"who": "b"})
                assert stopped.json() == {"stopped": True}
                assert kinds(await rest(theirs))[-2:] == ["abort", "[DONE]"]
            resumed = streamed(client, "GET", f"{path}/stream", headers={"who": "a"})
            async with resumed as (response, again):
                assert response.status_code == 200
                gated.allow(3)
                assert kinds(await rest(again))[-2:] == ["finish", "[DONE]"]


async def test_a_message_that_goes_on_keeps_its_id():
    assistant = {"id": "a7", "role": "assistant", "parts": []}
    body = ui() | {"messages": [*ui()["messages"], assistant, *ui()["messages"][:0]]}
    wire = UIMessageStream()
    assert wire.begin(body)["message"] == "a7"
    assert "message" not in wire.begin(body | {"trigger": "regenerate-message"})


async def test_a_run_goes_on_after_any_frame_exactly_once(two):
    one, other, gated = two
    gated.allow(3)
    whole = (await one.post("/agui", json={"runId": "r1"})).text.strip().split("\n\n")
    for number, seen in enumerate(whole):
        cursor = {"last-event-id": seen.partition("\n")[0].removeprefix("id: ")}
        for method, path in (("POST", "/agui"), ("GET", "/agui?offset=-1&runId=r1")):
            body = {"json": {"runId": "r1"}} if method == "POST" else {}
            after = await other.request(method, path, headers=cursor, **body)
            got = after.text.strip().split("\n\n") if after.text.strip() else []
            assert got == whole[number + 1 :]
    assert gated.runs == 1


async def test_a_run_is_joined_by_its_id_and_an_unknown_one_refused(two):
    one, other, gated = two
    async with streamed(one, "POST", "/agui", json={"runId": "r2"}) as (_, first):
        gated.allow(1)
        seen = [await anext(first) for _ in range(3)]
        async with streamed(other, "GET", "/agui?offset=-1&runId=r2") as (_, joined):
            assert [await anext(joined) for _ in range(3)] == seen
            gated.allow(2)
            assert await rest(joined) == await rest(first)
    again = await other.post("/agui", json={"runId": "r2"})
    assert kinds(chunks_of(again.content))[-1] == "RUN_FINISHED"
    assert gated.runs == 1
    assert (await other.post("/agui", json={"runId": "r2", "prompt": "x"})).status_code == 409
    for answer in (
        await other.get("/agui?offset=-1&runId=r3"),
        await other.get("/agui?runId=r2", headers={"who": "else"}),
        await other.post("/agui", json={"runId": "r3"}, headers={"last-event-id": "x"}),
    ):
        assert (answer.status_code, answer.json()["type"]) == (404, "RUN_ERROR")
    assert gated.runs == 1


async def test_a_drain_never_looks_like_the_end_of_an_answer(tmp_path):
    gated, store = Gated(), f"sqlite:{tmp_path / 'file'}"
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(app_of(gated, store)))
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=60))
        leaving = contextlib.AsyncExitStack()
        left = await leaving.enter_async_context(serving(app_of(gated, store)))
        chat = streamed(client, "POST", f"{left}/chat", json=ui())
        _, chunks = await stack.enter_async_context(chat)
        gated.allow(1)
        await anext(chunks)
        joined = streamed(client, "GET", f"{url}/chat/c-1/stream")
        _, elsewhere = await stack.enter_async_context(joined)
        await anext(elsewhere)
        readers = [asyncio.create_task(rest(each)) for each in (chunks, elsewhere)]
        await leaving.aclose()
        here, there = await asyncio.gather(*readers, return_exceptions=True)
        assert isinstance(here, httpx.RemoteProtocolError) or kinds(here)[-2:] == [
            "error",
            "[DONE]",
        ]
        assert kinds(there)[-2:] == ["error", "[DONE]"]
        assert (await client.get(f"{url}/chat/c-1/stream")).status_code == 204


MODELS = {
    "openai-chat": (OpenAIChat(), {"messages": [{"role": "user", "content": "Hi"}]}),
    "openai-responses": (OpenAIResponses(), {"input": "Hi"}),
    "anthropic": (
        AnthropicMessages(),
        {"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]},
    ),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("record", [False, True])
async def test_a_generator_of_ones_own_in_the_api_of_a_model(name, record):
    """The official SDKs read it: streamed, whole, refused and failed."""
    wire, body = MODELS[name]
    app = FastAPI()
    install(app, signals=False)

    @app.post("/{path:path}")
    @dual_mode(wire=wire, record=record)
    async def ask(model: Annotated[str, Body(embed=True)]) -> AsyncIterator[StreamEvent | str]:
        yield "Hello "
        if model == "fails":
            yield ERROR
        yield text("you.")

    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(app))
        http = await stack.enter_async_context(httpx2.AsyncClient())
        options = {"api_key": "k", "max_retries": 0, "http_client": http}
        if name == "anthropic":
            create = anthropic.AsyncAnthropic(base_url=url, **options).messages.create
            failure = anthropic.APIStatusError
        else:
            sdk = openai.AsyncOpenAI(base_url=url, **options)
            create = {"openai-chat": sdk.chat.completions, "openai-responses": sdk.responses}[name]
            create, failure = create.create, openai.APIError
        whole = await create(model="m", **body)
        events = [event async for event in await create(model="m", stream=True, **body)]
        said = {
            "openai-chat": lambda: (
                whole.choices[0].message.content,
                "".join(e.choices[0].delta.content or "" for e in events),
            ),
            "openai-responses": lambda: (whole.output_text, events[-1].response.output_text),
            "anthropic": lambda: (
                whole.content[0].text,
                "".join(e.delta.text for e in events if e.type == "content_block_delta"),
            ),
        }[name]()
        assert said == ("Hello you.", "Hello you.")
        with pytest.raises(failure, match="no model"):
            await create(model="fails", **body)
        with pytest.raises(failure, match="no model"):
            async for _ in await create(model="fails", stream=True, **body):
                pass
        refused = await http.post(f"{url}/x", json={**body, "model": "m", "temperature": "hot"})
        assert refused.status_code == 400
        assert refused.json()["error"]["message"].startswith("temperature")


async def test_a_full_store_and_a_trimmed_answer_are_refused_in_the_format():
    gated = Gated()
    limits = Limits(streams=1, stream_entries=2)
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(app_of(gated, MemoryStore(limits))))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=60))
        _, chunks = await stack.enter_async_context(
            streamed(client, "POST", "/agui", json={"runId": "r"})
        )
        gated.allow(1)
        assert kinds([await anext(chunks)]) == ["RUN_STARTED"]
        refused = await client.post("/chat", json=ui())
        assert refused.status_code == 503
        assert refused.text.startswith("the store has 1 streams")
        gated.allow(2)
        await rest(chunks)
        refused = await client.get("/agui?runId=r")
        assert (refused.status_code, refused.json()["type"]) == (410, "RUN_ERROR")


@pytest.mark.parametrize(("generation", "further"), [(0, 1), (1, 0), (1, 1)])
async def test_an_id_that_the_store_has_lost_is_refused(generation, further):
    """An answer without a frame, and without an end, would be asked for again for ever."""
    gated = Gated()
    gated.allow(9)
    async with serving(app_of(gated)) as url, httpx.AsyncClient(base_url=url) as client:
        async with streamed(client, "POST", "/agui", json={"runId": "r"}) as (answer, chunks):
            await rest(chunks)
        stream = answer.headers["location"].rpartition("/")[2]
        (last,) = (await client.get("/agui?runId=r&offset=-1")).text.split("id: ")[-1:]
        identity, number, sequence, frame = last.partition("\n")[0].split(".")
        assert identity == stream
        lost = f"{stream}.{int(number) + generation}.{int(sequence) + further}.{frame}"
        for method, path in [("GET", "/agui?runId=r"), ("POST", "/agui")]:
            headers = {"last-event-id": lost}
            refused = await client.request(method, path, headers=headers, json={"runId": "r"})
            assert (refused.status_code, refused.json()["type"]) == (410, "RUN_ERROR")


async def test_the_service_serves_both(monkeypatch):
    monkeypatch.setenv("DUAL_MODE_LLM_FIRST", "0")
    monkeypatch.setenv("DUAL_MODE_LLM_RATE", "0")
    async with serving(create_app(Settings())) as url, httpx.AsyncClient(base_url=url) as client:
        answer = await client.post("/ui/chat", json=ui("Hello", model="simulator"))
        assert kinds(chunks_of(answer.content))[-2:] == ["finish", "[DONE]"]
        for chat in (
            "c-1",
            "team/c-1",
            "team%2Fc-1",
            "a%0Ab",
        ):  # the SDK puts the id into the path as it is
            assert (await client.get(f"/ui/chat/{chat}/stream")).status_code == 204
        assert (await client.post("/ui/chat/c-1/stop")).json() == {"stopped": False}
        messages = [{"id": "m", "role": "user", "content": "Hello"}]
        run = {"threadId": "t", "runId": "r", "messages": messages, "tools": [], "context": []}
        answer = await client.post("/agui", json=run)
        assert kinds(chunks_of(answer.content))[-1] == "RUN_FINISHED"
        joined = await client.get("/agui", params={"offset": "-1", "runId": "r"})
        assert joined.content == answer.content


def test_the_document_says_what_a_wire_format_adds():
    operation = app_of(None).openapi()["paths"]["/chat"]["post"]["responses"]
    assert operation["200"]["content"]["text/event-stream"] == {"itemSchema": {"type": "object"}}
    assert "text/plain" in operation["409"]["content"]
