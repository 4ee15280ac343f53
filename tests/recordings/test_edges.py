"""Border cases of recorded endpoints: methods, parameters, routes, stores and shutdown."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, HTTPException, Query
from pydantic import BaseModel
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from dual_mode_streaming import Admission, Record, ServerSentEvent, drain, dual_mode, install
from dual_mode_streaming.stores import MemoryStore, StoreError, StoreFull
from dual_mode_streaming.testing import StreamingTransport, read_events
from dual_mode_streaming.web._fingerprint import fingerprint
from dual_mode_streaming.web.recorded._registry import registry_of

from .stage import EVENTS, Item, Stage, events_of, names_and_data, on_every_store, running


class Sparse(BaseModel):
    n: int
    note: str | None = None


class Question(BaseModel):
    text: str
    stream: bool | None = None


def app_with(path, function, *, method="get", record=True, installed=None, **options):
    """Return an app with one recorded endpoint; `options` are those of the route."""
    app = FastAPI()
    install(app, **(installed or {}))
    getattr(app, method)(path, **options)(dual_mode(record=record)(function))
    return app


RESPOND_ASYNC = {"prefer": "respond-async"}


class Broken(MemoryStore):
    """A store of which `create` and `info` fail."""

    def __init__(self, text):
        super().__init__()
        self.error = StoreError(text)

    async def create(self, *args, **options):
        raise self.error

    async def info(self, *args, **options):
        raise self.error


async def numbers(upto: int = 3) -> AsyncIterator[int]:
    for n in range(upto):
        yield n


# Methods.


@pytest.mark.parametrize("headers", [EVENTS, {}, {"prefer": "respond-async"}])
async def test_head_begins_nothing(headers):
    started = []

    async def noted() -> AsyncIterator[int]:
        started.append(1)
        yield 1

    app = FastAPI()
    install(app)
    app.api_route("/", methods=["GET", "HEAD"], status_code=203)(dual_mode(record=True)(noted))
    async with running(app) as http:
        head = await http.head("/", headers=headers)
        assert (head.status_code, head.content) == (203, b"")
        assert "location" not in head.headers
        assert (await http.get("/")).json() == {"data": [1]}
    assert started == [1]


async def test_other_methods_of_a_stream_are_refused(http):
    url = (await http.get("/count")).headers["location"]
    for method in ("HEAD", "OPTIONS", "PUT", "POST"):
        refused = await http.request(method, url)
        assert refused.status_code == 405
        assert refused.headers["allow"]


# Requests.


async def test_the_operations_own_parameters_are_its_own():
    async def trip(start: Annotated[str, Query(alias="from")], on_gap: str) -> AsyncIterator[str]:
        yield start + on_gap

    async with running(app_with("/trip", trip)) as http:
        first, *_ = await events_of(http, "/trip?from=Ulm&on_gap=a")
        for other in ("/trip?from=Bonn&on_gap=a", "/trip?from=Ulm&on_gap=b"):
            answer = await http.get(other, headers={**EVENTS, "last-event-id": first.id})
            assert answer.status_code == 400


async def test_a_form_is_a_part_of_what_was_asked():
    def form(name, content=b"1", filename="f"):
        """A request with a form that was read before; to parse one takes another library."""
        request = Request(
            {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
        )
        upload = UploadFile(io.BytesIO(content), filename=filename)
        request._form = FormData([("name", name), ("file", upload)])
        return request

    one = form("a")
    assert await fingerprint(one) == await fingerprint(one) == await fingerprint(form("a"))
    different = [one, form("b"), form("a", b"2"), form("a", filename="g")]
    assert len({await fingerprint(request) for request in different}) == len(different)
    assert await (await one.form())["file"].read() == b"1"


async def test_an_empty_idempotency_key_is_none(http):
    for body, total in ([1], 1), ([2], 2):
        answer = await http.post("/sum", json=body, headers={"idempotency-key": ""})
        assert answer.json() == {"total": total}


async def test_the_flag_in_a_body_decides():
    async def ask(question: Question) -> AsyncIterator[str]:
        yield question.text

    async with running(app_with("/ask", ask, method="post")) as http:
        body = {"text": "why?", "stream": True}
        streamed = await http.post("/ask", json=body)
        assert streamed.headers["content-type"].startswith("text/event-stream")
        batch = await http.post("/ask?stream=false", json=body)
        assert batch.json() == {"data": ["why?"]}
        for answer in (streamed, batch):
            document = await http.get(answer.headers["location"])
            assert document.json() == {"data": ["why?"]}


# Answers.


async def test_the_answer_of_later_says_how_it_is(http):
    for prefer in (
        [("prefer", "wait=1"), ("prefer", "Respond-Async")],
        [("prefer", "respond-async; x=1")],
    ):
        accepted = await http.post(
            "/sum", json=[1], headers=[*prefer, ("origin", "http://elsewhere")]
        )
        assert accepted.status_code == 202, prefer
        assert accepted.headers["access-control-expose-headers"] == "Location"
        assert accepted.json().keys() == {"stream", "state", "items"}


async def test_a_cursor_in_the_query_of_what_is_not_there_resets(http):
    reset, *events = await events_of(http, f"/count?last_event_id={'0' * 32}.1.3")
    assert json.loads(reset.data) == {"reason": "not_recorded", "requested": "0" * 32 + ".1.3"}
    assert names_and_data(events)[-1] == ("done", '{"items":5}')


async def test_the_end_of_a_stream_of_before_it_was_recorded_begins_none(http, stage):
    shown = {**EVENTS, "last-event-id": "0123456789.end"}
    assert (await http.get("/count", headers=shown)).status_code == 204
    assert stage.starts == 0


async def test_a_status_of_the_route_is_that_of_the_first_answer():
    app = app_with("/", numbers, method="post", status_code=201)
    async with running(app) as http:
        for headers in ({}, EVENTS):
            created = await http.post("/", headers=headers)
            assert created.status_code == 201
            url = created.headers["location"]
            assert (await http.get(url, headers=headers)).status_code == 200


async def test_a_failures_detail_may_be_anything():
    async def picky() -> AsyncIterator[int]:
        raise HTTPException(422, [{"loc": ["body"], "msg": "no"}])
        yield 1

    async with running(app_with("/", picky)) as http:
        failed = await http.get("/")
        assert failed.status_code == 422
        assert failed.json()["detail"] == [{"loc": ["body"], "msg": "no"}]


async def test_the_apps_defaults_are_those_of_recordings_too():
    async def stuck(fails: bool = False) -> AsyncIterator[int]:
        yield 1
        if fails:
            raise HTTPException(418)
        await asyncio.sleep(3600)

    installed = {"error_event": "failure", "max_duration": 0.1}
    async with running(app_with("/", stuck, installed=installed)) as http:
        assert (await events_of(http, "/?fails=true"))[-1].event == "failure"
        accepted = await http.get("/", headers={"prefer": "respond-async"})
        ended = await http.get(accepted.headers["location"] + "?wait=5")
        assert ended.status_code == 504


async def test_options_of_the_route():
    async def sparse() -> AsyncIterator[Sparse]:
        yield Sparse(n=1)
        yield Sparse(n=2, note="x")

    app = app_with("/", sparse, response_model_exclude_none=True)
    async with running(app) as http:
        batch = await http.get("/")
        assert batch.json() == {"data": [{"n": 1}, {"n": 2, "note": "x"}]}
        events = await events_of(http, batch.headers["location"])
        assert [event.data for event in events[:-1]] == ['{"n":1}', '{"n":2,"note":"x"}']


async def test_a_fold_is_given_events_as_events():
    async def kinds(items: AsyncIterator[Any]) -> list[str]:
        return [type(item).__name__ async for item in items]

    async def mixed() -> AsyncIterator[ServerSentEvent | Item]:
        yield ServerSentEvent(data={"a": 1}, event="named")
        yield ServerSentEvent(data="text")
        yield Item(n=1)

    app = FastAPI()
    install(app)
    app.get("/")(dual_mode(fold=kinds)(mixed))
    app.get("/recorded")(dual_mode(fold=kinds, record=True)(mixed))
    async with running(app) as http:
        plain, recorded = await http.get("/"), await http.get("/recorded")
        assert recorded.json() == plain.json() == ["ServerSentEvent", "ServerSentEvent", "Item"]


async def test_a_plain_generator_is_recorded():
    def plain(upto: int = 3) -> Iterator[int]:
        yield from range(upto)

    async with running(app_with("/", plain)) as http:
        batch = await http.get("/?upto=4")
        assert batch.json() == {"data": [0, 1, 2, 3]}
        assert len(await events_of(http, batch.headers["location"])) == 5


async def test_a_recorded_endpoint_in_routers_and_in_an_app_in_an_app():
    inner, outer, app, whole = APIRouter(prefix="/b"), APIRouter(prefix="/a"), FastAPI(), FastAPI()
    inner.api_route("/{name}/", methods=["GET", "POST"])(dual_mode(record=True)(numbers))
    outer.include_router(inner)
    install(app)
    app.include_router(outer)
    app.include_router(inner, prefix="/c")
    whole.mount("/app", app)
    async with running(app) as http:
        transport = StreamingTransport(whole)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as around:
            for client, path in ((http, "/a/b/x/"), (http, "/c/b/x/"), (around, "/app/a/b/x/")):
                batch = await client.post(path)
                again = await client.get(batch.headers["location"])
                assert again.json() == batch.json() == {"data": [0, 1, 2]}
                events = await events_of(client, path)
                for other, status in ((path, 204), ("/c/b/y/", 400)):
                    shown = {**EVENTS, "last-event-id": events[-1].id}
                    if client is http:
                        assert (await client.get(other, headers=shown)).status_code == status


async def test_a_store_of_its_own():
    other = MemoryStore()
    app = app_with("/", numbers, record=Record(store=other))
    app.get("/usual")(dual_mode(record=True)(numbers))
    async with running(app) as http:
        for path, there in (("/", True), ("/usual", False)):
            url = (await http.get(path)).headers["location"]
            stream = url.removeprefix("/streams/")
            assert (await other.info(stream) is not None) is there
            assert (await http.get(url)).json() == {"data": [0, 1, 2]}
            assert (await http.delete(url)).status_code == 204
            assert await other.info(stream) is None
            assert (await http.get(url)).status_code == 404


async def test_an_expired_stream_of_a_store_of_its_own_is_forgotten(stores):
    app = app_with("/", numbers, record=Record(store=stores.open(retention=1)))
    async with running(app) as http:
        url = (await http.get("/")).headers["location"]
        async with asyncio.timeout(60):
            while (await http.get(url)).status_code != 410:
                await asyncio.sleep(0.01)
        assert (await http.delete(url)).status_code == 204
        assert (await http.get(url)).status_code == 404


# Ends.


async def test_draining_ends_readers_who_then_come_again(http, stage):
    stage.gate.clear()
    async with http.stream("GET", "/count?gate_at=1", headers=EVENTS) as response:
        url = response.headers["location"]
        chunks = response.aiter_raw()
        first = await anext(chunks)
        waiting = asyncio.create_task(http.get(f"{url}?wait=60"))
        await until_read(stage, url, readers=2)
        draining = asyncio.create_task(drain(stage.app))
        rest = [chunk async for chunk in chunks]  # a clean end
        assert f"id: {url.removeprefix('/streams/')}.1.1".encode() in first
        assert b"".join(rest) == b"retry: 1000\n"
        assert (await asyncio.wait_for(waiting, 60)).status_code == 202
    await draining
    for path, headers in (("/count", {}), ("/count", EVENTS), (url, EVENTS)):
        refused = await http.get(path, headers=headers)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    refused = await http.post("/sum", json=[1], headers={"prefer": "respond-async"})
    assert refused.status_code == 503
    assert stage.starts == 1


async def until_read(stage, url, *, readers):
    """Wait until a stream has so many readers."""
    recordings = registry_of(stage.app).recordings_in()
    async with asyncio.timeout(60):
        while recordings.readers.get(url.removeprefix("/streams/"), 0) < readers:
            await asyncio.sleep(0.001)


async def test_who_waits_for_a_document_and_leaves_waits_no_more(http, stage):
    stage.gate.clear()
    accepted = await http.get("/count?gate_at=1", headers={"prefer": "respond-async"})
    url = accepted.headers["location"]
    waiting = asyncio.create_task(http.get(f"{url}?wait=60"))
    await until_read(stage, url, readers=1)
    waiting.cancel()
    recordings = registry_of(stage.app).recordings_in()
    async with asyncio.timeout(60):
        while recordings.readers:
            await asyncio.sleep(0.001)


class Relay:
    """An app whose streams can be resumed."""

    def __init__(self, store):
        self.app = FastAPI()
        install(self.app, store=store)
        self.resumed = []
        self.gate = asyncio.Event()

        @self.app.post("/relay")
        @dual_mode(record=True)
        async def relay(upto: int, resume_from: int) -> AsyncIterator[int]:
            self.resumed.append(resume_from)
            for n in range(resume_from, upto):
                if n == 2:
                    await self.gate.wait()
                yield n


@on_every_store
async def test_at_a_shutdown_what_can_be_resumed_is_left_to_others(stores, kind):
    one = Relay(stores.open("shared", lease=1.0))
    async with running(one.app) as http:
        async with http.stream("POST", "/relay?upto=4", headers=EVENTS) as response:
            url = response.headers["location"]
            events = read_events(response)
            seen = [await anext(events), await anext(events)]
            await events.aclose()
    assert one.resumed == [0]
    if kind == "memory":
        return
    two = Relay(stores.open("shared", lease=1.0))
    async with running(two.app) as http:
        assert (await http.get(f"{url}?wait=0")).json()["state"] == "running"
        async with asyncio.timeout(60):
            while not two.resumed:
                assert (await http.get(url)).status_code == 202
                await asyncio.sleep(0.02)
        assert two.resumed == [2]
        # The second producer has written nothing yet, and nothing is lost.
        async with http.stream("GET", f"{url}?from=now", headers=EVENTS) as response:
            two.gate.set()
            rest = [event async for event in read_events(response)]
        assert names_and_data(rest) == [(None, "2"), (None, "3"), ("done", '{"items":4}')]
        writers = [event.id.split(".")[1] for event in seen + rest]
        assert writers == ["1", "1", *[writers[2]] * 3]
        assert int(writers[2]) > 1
        assert await events_of(http, url, **{"last-event-id": seen[-1].id}) == rest
        assert (await http.get(url)).json() == {"data": [0, 1, 2, 3]}


def test_what_hides_a_stream_from_others_is_said_once():
    with pytest.raises(RuntimeError, match="once is enough"):
        install(Stage().app)


async def test_a_store_that_fails_in_the_midst_is_a_503(stores):
    """It fails after it has found the stream."""
    store = stores.open()
    app = app_with("/", numbers, installed={"store": store})
    async with running(app) as http:
        url = (await http.get("/")).headers["location"]
        running_one = (await http.get("/", params={"upto": 10**6}, headers=RESPOND_ASYNC)).headers[
            "location"
        ]

        async def fails(*args):
            raise StoreError("gone")

        store.cancel = store.delete = fails
        for answer in (await http.post(f"{running_one}/cancel"), await http.delete(url)):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        del store.cancel, store.delete
        assert (await http.delete(url)).status_code == 204
        assert (await http.delete(running_one)).status_code == 204


async def test_what_a_store_says_of_itself_is_for_the_log(caplog):
    store = Broken("redis://user:secret@10.1.2.3:6379 refuses")
    app = app_with("/", numbers, installed={"store": store})

    async def asks() -> AsyncIterator[int]:
        await store.info("0" * 32)
        yield 1

    app.get("/asks")(dual_mode(asks))
    cursor = "0" * 32 + ".1.1"
    async with running(app) as http:
        url = f"/streams/{'0' * 32}"
        for answer in (
            await http.get("/"),
            await http.get("/", headers={"last-event-id": cursor}),
            await http.get(url),
            await http.post(f"{url}/cancel"),
            await http.delete(url),
        ):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["detail"] == "the store does not answer; try again"
        assert caplog.text.count("10.1.2.3") == 5
        streamed = await http.get("/asks", params={"stream": True})
        assert "secret" not in streamed.text
        store.error = StoreFull("the store has 3 streams")
        full = await http.get("/")
        assert (full.status_code, full.json()["detail"]) == (503, "the store has 3 streams")
        assert full.headers["retry-after"] == "1"


async def test_the_end_of_an_unrecorded_stream_is_204_from_the_query_too(http, stage):
    answer = await http.get("/count?last_event_id=abcdef0123.end", headers=EVENTS)
    assert answer.status_code == 204


async def test_who_waits_for_an_end_counts_as_an_open_answer():
    gate = asyncio.Event()

    async def slow() -> AsyncIterator[int]:
        await gate.wait()
        yield 1

    admission = Admission(client_streams=2)
    app = app_with("/slow", slow, installed={"admission": admission})
    async with running(app) as http:
        accepted = await http.get("/slow", headers=RESPOND_ASYNC)
        url = accepted.headers["location"]
        recordings = registry_of(app).recordings_in()
        waiting = [asyncio.create_task(http.get(f"{url}?wait=60")) for _ in range(2)]
        async with asyncio.timeout(60):
            while recordings.readers.get(url.removeprefix("/streams/"), 0) < 2:
                await asyncio.sleep(0.001)
        at_once = await http.get(f"{url}?wait=60")
        assert (at_once.status_code, at_once.headers["retry-after"]) == (202, "1")
        assert (await http.get(url, headers=EVENTS)).status_code == 429
        cancelled = await http.post(f"{url}/cancel")  # it is not refused, to free what is open
        assert cancelled.status_code in (200, 202)
        for ended in await asyncio.gather(*waiting):
            assert ended.status_code == 409
        assert (await http.get("/slow", headers=RESPOND_ASYNC)).status_code == 202
