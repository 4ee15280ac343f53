"""One generator, three answers, and the law that they say the same."""

import dataclasses
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import fastapi.sse
import pytest
from fastapi import APIRouter, Body, FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.routing import Route
from typing_extensions import TypedDict

from dual_mode_streaming import (
    DualModeResponse,
    EventDecoder,
    ServerSentEvent,
    dual_mode,
    first,
    install,
)

from .asgi import get


class Item(BaseModel):
    index: int
    message: str = "m"


def app_of(function: Any, **options: Any) -> FastAPI:
    app = FastAPI()
    app.get("/")(dual_mode(**options)(function))
    return app


async def three(count: int = 3) -> AsyncIterator[Item]:
    for index in range(count):
        yield Item(index=index)


async def test_batch_is_the_list_of_items():
    answer = await get(app_of(three), accept="application/json")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["vary"] == "Accept"
    assert json.loads(answer.body) == {"data": [{"index": i, "message": "m"} for i in range(3)]}


async def test_stream_is_a_frame_an_item_and_done():
    answer = await get(app_of(three))
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "no-store" in answer.headers["cache-control"]
    assert answer.headers["vary"] == "Accept"
    run = answer.events[0].id.partition(".")[0]
    assert answer.body.decode() == (
        f'id: {run}.1\ndata: {{"index":0,"message":"m"}}\n\n'
        f'id: {run}.2\ndata: {{"index":1,"message":"m"}}\n\n'
        f'id: {run}.3\ndata: {{"index":2,"message":"m"}}\n\n'
        f'event: done\nid: {run}.end\ndata: {{"items":3}}\n\n'
    )
    assert answer.complete


@pytest.mark.parametrize("media_type", ["application/jsonl", "application/x-ndjson"])
async def test_lines_are_the_items_and_nothing_else(media_type):
    answer = await get(app_of(three), accept=media_type)
    assert answer.headers["content-type"] == media_type
    assert [json.loads(line) for line in answer.body.splitlines()] == [
        {"index": i, "message": "m"} for i in range(3)
    ]
    assert answer.complete


async def test_runs_have_different_ids():
    app = app_of(three)
    first_run, second_run = (await get(app)).events[0].id, (await get(app)).events[0].id
    assert first_run != second_run


@pytest.mark.parametrize(
    ("query", "accept", "content_type"),
    [
        ("stream=true", "application/json", "text/event-stream"),
        ("stream=1", None, "text/event-stream"),
        ("stream=false", "text/event-stream", "application/json"),
        ("", None, "application/json"),
        ("", "*/*", "application/json"),
        ("", "text/event-stream;q=0, */*", "application/json"),
    ],
)
async def test_the_flag_wins_then_accept(query, accept, content_type):
    answer = await get(app_of(three), accept=accept, query=query)
    assert answer.headers["content-type"].partition(";")[0] == content_type


async def test_the_flag_has_another_name_or_none():
    named = app_of(three, stream_flag="live")
    assert (await get(named, query="live=true", accept=None)).events
    assert json.loads((await get(named, query="stream=true", accept=None)).body)
    without = app_of(three, stream_flag=None)
    assert json.loads((await get(without, query="stream=true", accept=None)).body)


async def test_the_function_may_take_the_flag_itself():
    async def asks(stream: bool | None = None) -> AsyncIterator[str]:
        yield f"stream={stream}"

    answer = await get(app_of(asks), query="stream=true", accept=None)
    assert json.loads(answer.events[0].data) == "stream=True"


async def test_a_wrong_flag_is_a_422():
    assert (await get(app_of(three), query="stream=perhaps")).status == 422


async def test_nothing_acceptable_is_a_406_that_lists_what_there_is():
    answer = await get(app_of(three), accept="image/png")
    assert answer.status == 406
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["vary"] == "Accept"
    problem = json.loads(answer.body)
    assert problem["status"] == 406
    assert "text/event-stream" in problem["available"]
    assert "application/json" in problem["available"]


async def test_junk_in_accept_is_answered():
    for junk in ("," * 100_000, "a/b;q=" * 20_000, '"' * 100_000, "\x80\xff" * 100):
        assert (await get(app_of(three), accept=junk)).status in (200, 406)


async def test_several_accept_headers_count_as_one():
    answer = await get(
        app_of(three),
        accept="application/json;q=0.1",
        headers=[("accept", "text/event-stream")],
    )
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"


# --- typed ---------------------------------------------------------------------------------------


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Dictionary(TypedDict):
    name: str


class Text(BaseModel):
    kind: Literal["text"] = "text"
    text: str


class Usage(BaseModel):
    kind: Literal["usage"] = "usage"
    tokens: int


Event = Annotated[Text | Usage, Field(discriminator="kind")]


def fold(body: bytes) -> list[Any]:
    return [json.loads(e.data) for e in EventDecoder().feed(body) if e.event != "done"]


@pytest.mark.parametrize(
    ("item_type", "items"),
    [
        (Item, [Item(index=1), {"index": 2}, Item(index=3, message="\u2028\u2029\u0085ä\r\n")]),
        (Point, [Point(1, 2), {"x": 3, "y": 4}]),
        (Dictionary, [{"name": "a"}, {"name": "b"}]),
        (Event, [Text(text="hello"), Usage(tokens=3), {"kind": "usage", "tokens": 4}]),
        (Item | Point, [Item(index=1), Point(1, 2)]),
        (str, ["a", "", "\n"]),
        (int | None, [1, None, 2]),
        (list[int], [[1, 2], []]),
        (Any, [{"a": float("nan")}, Item(index=1), Point(1, 2), None, "x"]),
    ],
)
async def test_every_kind_of_item_reads_the_same_in_all_modes(item_type, items):
    async def source() -> AsyncIterator[item_type]:
        for item in items:
            yield item

    app = app_of(source)
    batch = json.loads((await get(app, accept="application/json")).body)["data"]
    stream = await get(app)
    lines = (await get(app, accept="application/jsonl")).body
    assert len(batch) == len(items)
    assert fold(stream.body) == batch
    assert [json.loads(line) for line in lines.decode().split("\n")[:-1]] == batch
    for separator in ("\u2028", "\u2029", "\u0085"):
        assert separator not in stream.body.decode()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(items=st.lists(json_values, max_size=8), step=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
async def test_the_law(items, step):
    """Folding what a client decodes from the stream equals the batch body, however it is cut."""

    async def source() -> AsyncIterator[Any]:
        for item in items:
            yield item

    app = app_of(source)
    batch = json.loads((await get(app, accept="application/json")).body)["data"]
    body = (await get(app)).body
    decoder, events = EventDecoder(), []
    for start in range(0, len(body), step):
        events += decoder.feed(body[start : start + step])
    assert [json.loads(event.data) for event in events[:-1]] == batch
    assert events[-1].event == "done"
    assert json.loads(events[-1].data) == {"items": len(batch)}
    lines = (await get(app, accept="application/jsonl")).body
    assert [json.loads(line) for line in lines.splitlines()] == batch


async def test_a_union_names_its_events():
    async def source() -> AsyncIterator[Event]:
        yield Text(text="a")
        yield Usage(tokens=1)

    assert [event.event for event in (await get(app_of(source))).events] == [
        "text",
        "usage",
        "done",
    ]


def test_a_reserved_tag_is_refused_where_it_is_declared():
    class Done(BaseModel):
        kind: Literal["done"] = "done"

    async def source() -> AsyncIterator[Annotated[Text | Done, Field(discriminator="kind")]]:
        yield Done()

    with pytest.raises(ValueError, match="reserved"):
        dual_mode(source)


async def test_subclasses_are_serialised_as_the_declared_type_says():
    class Secret(Item):
        password: str = "hidden"

    async def source() -> AsyncIterator[Item]:
        yield Secret(index=1)

    for accept in ("application/json", "text/event-stream", "application/jsonl"):
        assert b"hidden" not in (await get(app_of(source), accept=accept)).body


async def test_aliases_and_the_routes_response_model_options_hold():
    class Aliased(BaseModel):
        first_name: str = Field(serialization_alias="firstName")
        nothing: int | None = None

    async def source() -> AsyncIterator[Aliased]:
        yield Aliased(first_name="a")

    app = FastAPI()
    app.get("/", response_model_exclude_none=True)(dual_mode(source))
    assert fold((await get(app)).body) == [{"firstName": "a"}]
    batch = (await get(app, accept="application/json")).body
    assert json.loads(batch) == {"data": [{"firstName": "a"}]}


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "application/jsonl"])
async def test_an_item_of_the_wrong_type_is_an_error_of_ours(accept):
    async def source() -> AsyncIterator[Item]:
        yield {"index": "not a number, and a secret"}

    app = app_of(source)
    with pytest.raises(Exception, match="validation error"):
        await get(app, accept=accept)


async def test_events_of_ours_and_of_fastapi_are_framed_as_they_are():
    async def source() -> AsyncIterator[Any]:
        yield ServerSentEvent(data="plain text", event="note", id="mine", retry=10)
        yield ServerSentEvent(data={"a": 1})
        yield ServerSentEvent(comment="no item")
        yield fastapi.sse.ServerSentEvent(data="quoted", event="native")
        yield fastapi.sse.ServerSentEvent(raw_data="raw\nlines")
        yield fastapi.sse.ServerSentEvent(data=Item(index=1))

    app = app_of(source)
    answer = await get(app)
    events = answer.events
    assert [(event.event, event.data) for event in events] == [
        ("note", "plain text"),
        (None, '{"a":1}'),
        ("native", '"quoted"'),
        (None, "raw\nlines"),
        (None, '{"index":1,"message":"m"}'),
        ("done", '{"items":5}'),
    ]
    assert events[0].id == "mine"
    assert events[1].id.endswith(".2")
    assert b": no item\n" in answer.body
    batch = json.loads((await get(app, accept="application/json")).body)["data"]
    assert batch == ["plain text", {"a": 1}, "quoted", "raw\nlines", {"index": 1, "message": "m"}]


async def test_an_event_may_not_take_a_reserved_name():
    async def source() -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent(data="x", event="done")

    with pytest.raises(ValueError, match="reserved"):
        await get(app_of(source))


# --- folds ---------------------------------------------------------------------------------------


async def test_a_fold_makes_the_batch_body():
    async def total(items: AsyncIterator[Item]) -> dict[str, int]:
        return {"sum": sum([item.index async for item in items])}

    app = app_of(three, fold=total)
    assert json.loads((await get(app, accept="application/json")).body) == {"sum": 3}
    assert len((await get(app)).events) == 4


async def test_a_fold_may_return_early_and_the_generator_is_closed():
    closed = []

    async def endless() -> AsyncIterator[Item]:
        index = 0
        try:
            while True:
                yield Item(index=index)
                index += 1
        finally:
            closed.append(index)

    answer = await get(app_of(endless, fold=first), accept="application/json")
    assert json.loads(answer.body) == {"index": 0, "message": "m"}
    assert closed == [0]


async def test_a_folds_result_is_validated_by_its_annotation():
    async def wrong(items: AsyncIterator[Item]) -> list[int]:
        return ["not a number"]

    with pytest.raises(Exception, match="validation error"):
        await get(app_of(three, fold=wrong), accept="application/json")


# --- bounds of a batch ---------------------------------------------------------------------------


async def endless() -> AsyncIterator[Item]:
    while True:
        yield Item(index=0)


@pytest.mark.parametrize(
    ("options", "status", "bound"),
    [
        ({"batch_items": 5}, 413, "items"),
        ({"batch_bytes": 10_000}, 413, "bytes"),
        ({"batch_seconds": 0.02, "batch_items": 10**9, "batch_bytes": 10**12}, 504, "seconds"),
    ],
)
async def test_a_batch_is_bounded_and_the_problem_names_the_stream(options, status, bound):
    answer = await get(app_of(endless, **options), accept="application/json")
    assert answer.status == status
    assert answer.headers["vary"] == "Accept"
    problem = json.loads(answer.body)
    assert problem["bound"] == bound
    assert "text/event-stream" in problem["detail"]


async def test_a_batch_at_its_bound_is_whole():
    answer = await get(app_of(three, batch_items=3), accept="application/json")
    assert len(json.loads(answer.body)["data"]) == 3


# --- where it can stand --------------------------------------------------------------------------


async def test_plain_starlette():
    async def endpoint(request):
        return DualModeResponse(three())

    app = Starlette(routes=[Route("/", endpoint)])
    assert len((await get(app)).events) == 4
    assert len(json.loads((await get(app, accept=None)).body)["data"]) == 3
    assert (await get(app, accept="image/png")).status == 406
    assert len((await get(app, accept=None, query="a=1&stream=true")).events) == 4
    assert json.loads((await get(app, query="stream=off")).body)
    wrong = await get(app, query="stream=perhaps")
    assert wrong.status == 422
    assert "true or false" in json.loads(wrong.body)["detail"]


async def test_head_runs_no_generator():
    ran = []

    async def source():
        ran.append(1)
        yield 1

    async def endpoint(request):
        return DualModeResponse(source())

    answer = await get(Starlette(routes=[Route("/", endpoint)]), method="HEAD")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.body == b""
    assert not ran


async def test_routers_prefixes_and_mounted_apps():
    router = APIRouter(prefix="/inner")
    router.get("/items")(dual_mode(three))
    app, mounted = FastAPI(), FastAPI()
    app.include_router(router, prefix="/outer")
    mounted.get("/items")(dual_mode(three))
    app.mount("/sub", mounted)
    install(app)
    for path in ("/outer/inner/items", "/sub/items"):
        assert len((await get(app, path)).events) == 4


async def test_post_with_a_body():
    app = FastAPI()

    @app.post("/")
    @dual_mode
    async def echo(text: Annotated[str, Body(embed=True)]) -> AsyncIterator[str]:
        for word in text.split():
            yield word

    answer = await get(
        app,
        method="POST",
        headers=[("content-type", "application/json")],
        body=[b'{"text":', b' "a b c"}'],
    )
    assert [json.loads(e.data) for e in answer.events[:-1]] == ["a", "b", "c"]


def test_only_generator_functions_are_taken():
    async def coroutine() -> int:
        return 1

    with pytest.raises(TypeError, match="yield"):
        dual_mode(coroutine)
    with pytest.raises(TypeError, match="no such option: heartbeats"):
        dual_mode(heartbeats=3)
    with pytest.raises(ValueError, match="heartbeat should be greater than 0"):
        dual_mode(heartbeat=0)
