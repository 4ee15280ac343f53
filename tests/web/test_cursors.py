"""Where a cursor is taken from: the header or the query, any method, and any text."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import urlencode

import pytest
from fastapi import Depends, FastAPI, Header, Query, Request
from pydantic import BaseModel
from starlette.datastructures import Headers as RawHeaders

from dual_mode_streaming import ServerSentEvent, dual_mode, install
from dual_mode_streaming.client import AsyncDualModeClient
from dual_mode_streaming.testing import assert_done, serving
from dual_mode_streaming.web._cursors import read_header

from .asgi import get

END = "0123456789.end"
METHODS = ["GET", "POST", "PUT", "PATCH"]
PLACES = ["Last-Event-ID", "last_event_id", "lastEventId"]


def sent(place: str, cursor: str) -> dict[str, object]:
    if place == "Last-Event-ID":
        return {"headers": [(place, cursor)]}
    return {"query": urlencode({place: cursor})}


def app_of(function, method="GET", **options) -> FastAPI:
    app = FastAPI()
    install(app, store="memory")
    app.api_route("/", methods=[method])(dual_mode(**options)(function))
    return app


runs = []


async def two() -> AsyncIterator[int]:
    runs.append(1)
    yield 1
    yield 2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("place", PLACES)
async def test_the_id_of_the_end_is_a_204_and_another_one_a_reset(method, place):
    app = app_of(two, method)
    runs.clear()
    ended = await get(app, method=method, **sent(place, END))
    assert (ended.status, ended.body, runs) == (204, b"", [])
    again = await get(app, method=method, **sent(place, "x.1"))
    assert [event.event for event in again.events] == ["reset", None, None, "done"]
    assert json.loads(again.events[0].data)["requested"] == "x.1"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("place", PLACES)
async def test_a_recorded_endpoint_attaches_and_starts_nothing(method, place):
    app = app_of(two, method, record=True)
    async with app.router.lifespan_context(app):
        whole = (await get(app, method=method)).events
        runs.clear()
        rest = await get(app, method=method, **sent(place, whole[0].id))
        assert rest.events == whole[1:]
        assert assert_done(rest.events) == [2]
        assert assert_done(whole[-1:]) == []
        with pytest.raises(AssertionError, match="counts 2 items, but 1 arrived"):
            assert_done([whole[0], whole[-1]])
        assert (await get(app, method=method, **sent(place, whole[-1].id))).status == 204
        assert (await get(app, method=method, **sent(place, END))).status == 204
        assert not runs


async def test_a_post_with_a_cursor_and_a_key_goes_on_too():
    app = app_of(two, "POST", record=True)
    async with app.router.lifespan_context(app):
        key = [("idempotency-key", "k")]
        whole = (await get(app, method="POST", headers=key)).events
        runs.clear()
        for headers in (key, [("idempotency-key", "another")]):
            cursor = [*headers, ("last-event-id", whole[0].id)]
            assert (await get(app, method="POST", headers=cursor)).events == whole[1:]
        assert not runs


async def test_a_cursor_of_another_owner_or_query_is_not_served():
    app = app_of(two, "POST", record=True)
    async with app.router.lifespan_context(app):
        mine = [("authorization", "Bearer mine")]
        whole = (await get(app, method="POST", headers=mine)).events
        for headers in ([], [("authorization", "Bearer other")]):
            shown = [*headers, ("last-event-id", whole[0].id)]
            events = (await get(app, method="POST", headers=shown)).events
            assert [event.event for event in events] == ["reset", None, None, "done"]
            assert events[1].id.partition(".")[0] != whole[0].id.partition(".")[0]
        shown = [*mine, ("last-event-id", whole[0].id)]
        other = await get(app, method="POST", headers=shown, query="other=1")
        assert other.status == 400


@pytest.mark.parametrize(
    ("header", "query", "requested"),
    [
        ("a", "last_event_id=b&lastEventId=c", "a"),
        (None, "lastEventId=c&last_event_id=b", "b"),
        ("", "last_event_id=&lastEventId=c", "c"),
        (None, "last_event_id=&last_event_id=b", "b"),
        (None, "lastEventId=Z%C3%BCrich%25+%F0%9F%8E%88", "Zürich% 🎈"),
        ("", "last_event_id=&lastEventId=", None),
    ],
)
async def test_the_header_wins_then_the_first_that_is_not_empty(header, query, requested):
    headers = [] if header is None else [("last-event-id", header)]
    events = (await get(app_of(two), headers=headers, query=query)).events
    resets = [json.loads(event.data)["requested"] for event in events if event.event == "reset"]
    assert resets == ([] if requested is None else [requested])


@pytest.mark.parametrize("place", PLACES)
async def test_a_cursor_that_is_too_long_is_refused(place):
    answer = await get(app_of(two), **sent(place, "é" * 600))
    assert answer.status == 400
    assert "1024 bytes" in json.loads(answer.body)["detail"]


class Headers(BaseModel):
    last_event_id: str | None = None


def by_dependency(last_event_id: Annotated[str | None, Header()] = None) -> str | None:
    return last_event_id


async def by_name(last_event_id: str | None = None) -> AsyncIterator[str | None]:
    yield last_event_id


async def by_alias(
    after: Annotated[str | None, Query(alias="lastEventId")] = None,
) -> AsyncIterator[str | None]:
    yield after


async def by_header(
    after: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> AsyncIterator[str | None]:
    yield after


async def by_model(headers: Annotated[Headers, Header()]) -> AsyncIterator[str | None]:
    yield headers.last_event_id


async def in_dependency(
    after: Annotated[str | None, Depends(by_dependency)],
) -> AsyncIterator[str | None]:
    yield after


@pytest.mark.parametrize(
    ("function", "place"),
    [
        (by_name, "last_event_id"),
        (by_alias, "lastEventId"),
        (by_header, "Last-Event-ID"),
        (by_model, "Last-Event-ID"),
        (in_dependency, "Last-Event-ID"),
    ],
)
async def test_an_endpoint_that_declares_the_cursor_gets_it_without_a_reset(function, place):
    events = (await get(app_of(function), **sent(place, "7"))).events
    assert [json.loads(event.data) for event in events[:-1]] == ["7"]


IDS = ["🎈", "Zürich", "ÿ", "naïve 100% %41", "日本 語", "a+b&c=d;e,f", '"', "x" * 900, "Ã¼"]


async def followed(
    after: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> AsyncIterator[ServerSentEvent]:
    if after is not None:
        yield ServerSentEvent(after, id="end")
        return
    for each in IDS:
        yield ServerSentEvent("", id=each)


async def test_ids_beyond_ascii_come_back_as_they_went():
    app = app_of(followed)
    async with serving(app) as url, AsyncDualModeClient(url) as client:
        shown = [event.id async for event in client.stream("/")]
        assert shown == IDS
        for each in IDS:
            async for event in client.stream("/", last_event_id=each):
                assert event.data == each
                break


@pytest.mark.parametrize("header", ["Zürich".encode(), "Zürich".encode("latin-1")])
def test_a_header_is_utf_8_or_else_latin_1(header):
    scope = {"headers": ((b"host", b"x"), (b"last-event-id", header))}
    assert read_header(scope) == "Zürich"
    assert RawHeaders(scope=scope)["last-event-id"] == "Zürich"


class Seen(BaseModel):
    last_event_id: str


def in_a_dependency(last_event_id: Annotated[str, Header()]) -> str:
    return last_event_id


def in_a_model(seen: Annotated[Seen, Header()]) -> str:
    return seen.last_event_id


def nested(seen: Annotated[str, Depends(in_a_dependency)]) -> str:
    return seen


def from_the_request(request: Request, last_event_id: Annotated[str, Header()]) -> str:
    return request.headers["last-event-id"]


async def parameter(last_event_id: Annotated[str, Header()]) -> AsyncIterator[str]:
    yield last_event_id


async def default(last_event_id: str = Header("")) -> AsyncIterator[str]:
    yield last_event_id


async def model(seen: Annotated[Seen, Header()]) -> AsyncIterator[str]:
    yield seen.last_event_id


async def request_itself(request: Request) -> AsyncIterator[str]:
    yield request.headers["last-event-id"]


def of(dependency) -> Any:
    async def items(seen: Annotated[str, Depends(dependency)]) -> AsyncIterator[str]:
        yield seen

    return items


class View:
    async def items(self, last_event_id: Annotated[str, Header()]) -> AsyncIterator[str]:
        yield last_event_id


class Decorated:
    @dual_mode
    async def items(self, last_event_id: Annotated[str, Header()]) -> AsyncIterator[str]:
        yield last_event_id


@pytest.mark.parametrize("cursor", ["Zürich", "日本-😀", "Ã¼", "plain"])
@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize(
    "function",
    [parameter, default, model, request_itself, View().items, Decorated().items]
    + [of(each) for each in (in_a_dependency, in_a_model, nested, from_the_request)],
)
async def test_an_id_beyond_ascii_is_read_wherever_the_header_is_declared(
    function, installed, cursor
):
    app = FastAPI()
    if installed:
        install(app)
    app.get("/")(function if hasattr(function, "generator") else dual_mode(function))
    answer = await get(app, accept="application/json", headers=[("Last-Event-ID", cursor)])
    assert json.loads(answer.body) == {"data": [cursor]}


async def test_a_dependency_of_the_route_reads_it_in_an_app_with_install():
    def remember(request: Request, last_event_id: Annotated[str, Header()]) -> None:
        request.state.seen = last_event_id

    app = FastAPI()
    install(app)

    @app.get("/", dependencies=[Depends(remember)])
    @dual_mode
    async def items(request: Request) -> AsyncIterator[str]:
        yield request.state.seen

    answer = await get(app, accept="application/json", headers=[("Last-Event-ID", "日本")])
    assert json.loads(answer.body) == {"data": ["日本"]}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("function", [parameter, default, model, of(nested)])
async def test_an_endpoint_that_takes_the_header_gets_a_cursor_of_the_query(function, place):
    app = app_of(function)
    answer = await get(app, accept="application/json", **sent(place, "日本"))
    assert json.loads(answer.body) == {"data": ["日本"]}
