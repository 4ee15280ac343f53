"""`/channels/{name}` over HTTP: a part of the conformance suite, and what it does not ask for."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from dual_mode_streaming import Channel, ServerSentEvent, dual_mode, install
from dual_mode_streaming.limits import Admission
from dual_mode_streaming.testing import StreamingTransport, collect_events

TEXT = {"content-type": "text/plain"}
JSON = {"content-type": "application/json"}
EVENTS = {"accept": "text/event-stream"}


class Order(BaseModel):
    id: int


typed = Channel("typed/{id}", Order, max_messages=10)


@asynccontextmanager
async def serving(**installed):
    app = FastAPI()
    install(app, signals=False, **{"channels": True} | installed)

    @app.get("/channels/own/one")
    async def own() -> str:
        return "the app's"

    async with app.router.lifespan_context(app):
        client = httpx.AsyncClient(transport=StreamingTransport(app), base_url="http://test")
        async with client as http:
            yield http


@pytest.fixture
async def http():
    async with serving() as http:
        yield http


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_client_that_leaves_before_its_body_is_whole_is_no_failure(method, caplog):
    app = FastAPI()
    install(app, signals=False, channels=True)
    async with app.router.lifespan_context(app):
        client = httpx.AsyncClient(transport=StreamingTransport(app), base_url="http://test")
        async with client as http:
            await http.put("/channels/cut", headers=JSON)
        scope = {"type": "http", "method": method, "path": "/channels/cut", "query_string": b""}
        scope |= {"headers": [(b"content-type", b"application/json")], "http_version": "1.1"}
        told = [{"type": "http.request", "body": b"[1", "more_body": True}]
        sent = []

        async def receive():
            return told.pop(0) if told else {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        await app(scope, receive, send)
        assert sent[0]["status"] == 499
        assert not caplog.records


def producer(epoch, sequence, name="p"):
    return {"producer-id": name, "producer-epoch": str(epoch), "producer-seq": str(sequence)}


async def test_a_channel_is_created_appended_to_read_and_deleted(http):
    created = await http.put("/channels/a/b", headers=TEXT, content="one")
    assert created.status_code == 201
    assert created.headers["location"] == "http://test/channels/a/b"
    assert (await http.put("/channels/a/b", headers=TEXT)).status_code == 200
    assert (await http.put("/channels/a/b", headers=JSON)).status_code == 409
    appended = await http.post("/channels/a/b", headers=TEXT, content="two")
    assert appended.status_code == 204
    middle, end = (each.headers["stream-next-offset"] for each in (created, appended))
    assert middle < end
    whole = await http.get("/channels/a/b")
    assert (whole.text, whole.headers["stream-next-offset"]) == ("onetwo", end)
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert (await http.get(f"/channels/a/b?offset={middle}")).text == "two"
    etag = {"if-none-match": whole.headers["etag"]}
    assert (await http.get("/channels/a/b", headers=etag)).status_code == 304
    head = await http.head("/channels/a/b")
    assert (head.headers["stream-next-offset"], head.text) == (end, "")
    assert (await http.delete("/channels/a/b")).status_code == 204
    for call in (http.get, http.head, http.delete):
        gone = await call("/channels/a/b")
        assert gone.status_code == 404
        assert gone.headers["x-content-type-options"] == "nosniff"


async def test_an_offset_of_a_deleted_channel_is_not_one_of_the_next(http):
    old = await http.put("/channels/again", headers=TEXT, content="x")
    await http.delete("/channels/again")
    await http.put("/channels/again", headers=TEXT, content="y")
    offset = old.headers["stream-next-offset"]
    for query in ("", "&live=long-poll", "&live=sse"):
        assert (await http.get(f"/channels/again?offset={offset}{query}")).status_code == 410


@pytest.mark.parametrize(
    ("method", "query", "headers", "body"),
    [
        ("GET", "?offset=a,b", {}, ""),
        ("GET", "?offset=", {}, ""),
        ("GET", "?offset=1_1", {}, ""),
        ("GET", "?offset=-1&offset=-1", {}, ""),
        ("GET", "?live=sse", {}, ""),
        ("GET", "?offset=-1&live=x", {}, ""),
        ("POST", "", JSON, ""),
        ("POST", "", JSON, "[]"),
        ("POST", "", JSON, "{"),
        ("POST", "", JSON, "NaN"),
        ("POST", "", {}, "1"),
        ("POST", "", JSON | {"producer-id": "p"}, "1"),
        ("POST", "", JSON | producer(0, "x"), "1"),
        ("POST", "", JSON | producer(0, 2**53), "1"),
        ("POST", "", JSON | producer(0, 0, "x" * 300), "1"),
        ("PUT", "", {"stream-ttl": "01"}, ""),
        ("PUT", "", {"stream-ttl": "1", "stream-expires-at": "2040-01-01T00:00:00Z"}, ""),
        ("PUT", "", {"stream-expires-at": "2040-02-31T00:00:00Z"}, ""),
        ("PUT", "", {"stream-expires-at": "2040-01-01"}, ""),
    ],
    ids=str,
)
async def test_what_is_malformed_is_a_400(http, method, query, headers, body):
    await http.put("/channels/c", headers=JSON)
    response = await http.request(method, f"/channels/c{query}", headers=headers, content=body)
    assert response.status_code == 400, response.text
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("name", ["a//b", "a/", "", "%00", "a/%2E%2E/b", "x" * 501, "a%5Cb"])
async def test_a_wrong_name_is_refused(http, name):
    response = await http.put(f"/channels/{name}", headers=TEXT)
    assert response.status_code in (400, 404, 405)


@pytest.mark.parametrize(
    "name", ["%C3%A9", "%F0%A3%90%9AQ%C3%97*S", "a%3Fb%23c", "a%20b/c%25d", "a+b:@c"]
)
async def test_the_location_of_a_channel_of_any_name_leads_to_it(http, name):
    created = await http.put(f"/channels/{name}", headers=TEXT, content="one")
    assert created.status_code == 201
    assert created.headers["location"] == f"http://test/channels/{name}"
    assert (await http.get(created.headers["location"])).text == "one"


@pytest.mark.parametrize("name", ["%0A", "a%0Ab", "a%0D", "a/%0A"])
async def test_a_name_with_a_line_end_is_refused_in_words(http, name):
    response = await http.put(f"/channels/{name}", headers=TEXT)
    assert response.status_code == 400
    assert "printable" in response.json()["detail"]


async def test_a_producer_is_idempotent_and_fenced(http):
    await http.put("/channels/p", headers=TEXT)

    async def sent(body, *args, **more):
        headers = TEXT | producer(*args) | more
        response = await http.post("/channels/p", headers=headers, content=body)
        return response.status_code, response.headers

    assert (await sent("a", 0, 0))[0] == 200
    assert (await sent("a", 0, 0))[0] == 204
    status, headers = await sent("c", 0, 2)
    assert (status, headers["producer-expected-seq"]) == (409, "1")
    assert (await sent("b", 0, 1))[0] == 200
    assert (await sent("x", 1, 1))[0] == 400
    assert (await sent("c", 1, 0))[0] == 200
    status, headers = await sent("z", 0, 2)
    assert (status, headers["producer-epoch"]) == (403, "1")
    both = await asyncio.gather(*(sent("d", 1, 1) for _ in range(5)))
    assert sorted(status for status, _ in both) == [200, 204, 204, 204, 204]
    assert (await sent("e", 1, 2, **{"stream-closed": "true"}))[0] == 200
    assert (await sent("e", 1, 2, **{"stream-closed": "true"}))[0] == 204
    assert (await sent("f", 1, 3))[0] == 409
    closed = await http.get("/channels/p")
    assert (closed.text, closed.headers["stream-closed"]) == ("abcde", "true")


async def test_a_long_poll_waits_for_a_message(http):
    await http.put("/channels/l", headers=JSON)
    waiting = asyncio.create_task(http.get("/channels/l?offset=now&live=long-poll"))
    for number in range(100):
        await http.post("/channels/l", headers=JSON, json=number)
        await asyncio.sleep(0)
        if waiting.done():
            break
    response = await waiting
    assert response.status_code == 200
    assert response.json()
    assert response.headers["stream-cursor"].isdecimal()
    await http.post("/channels/l", headers={"stream-closed": "true"})
    offset = (await http.head("/channels/l")).headers["stream-next-offset"]
    end = await http.get(f"/channels/l?offset={offset}&live=long-poll")
    assert (end.status_code, end.headers["stream-closed"]) == (204, "true")


async def test_live_events_have_control_events(http):
    await http.put("/channels/s", headers=JSON, json=[{"a": 1}, {"a": 2}])
    await http.post("/channels/s", headers=JSON | {"stream-closed": "true"}, json={"a": 3})
    async with http.stream("GET", "/channels/s?offset=-1&live=sse") as response:
        events = await collect_events(response)
    assert [event.event for event in events] == ["data", "control"] * 3 + ["control"]
    assert [json.loads(event.data) for event in events[:6:2]] == [[{"a": n}] for n in (1, 2, 3)]
    offsets = [json.loads(event.data)["streamNextOffset"] for event in events[1::2]]
    assert offsets == sorted(offsets)
    end = json.loads(events[-1].data)
    assert end == {"streamNextOffset": offsets[-1], "streamClosed": True, "upToDate": True}


async def test_binary_and_text_are_events_that_cannot_be_broken(http):
    text = " a\r\revent: control\rdata: {}\n\nb"
    await http.put("/channels/t", headers=TEXT | {"stream-closed": "true"}, content=text)
    await http.put(
        "/channels/b",
        headers={"content-type": "image/png", "stream-closed": "true"},
        content=b"\0\xff",
    )
    for query, accept in (("?offset=-1&live=sse", {}), ("", EVENTS)):
        async with http.stream("GET", f"/channels/t{query}", headers=accept) as response:
            first = (await collect_events(response))[0]
        assert first.data == text.replace("\r", "\n")
        async with http.stream("GET", f"/channels/b{query}", headers=accept) as response:
            first = (await collect_events(response))[0]
        assert first.data == "AP8="


async def test_without_live_events_lines_and_batch_are_as_everywhere(http):
    await http.put("/channels/e", headers=JSON, json=[1, 2])
    await http.post("/channels/e", headers=JSON | {"stream-closed": "true"}, json=3)

    async def events(**headers):
        async with http.stream("GET", "/channels/e", headers=EVENTS | headers) as response:
            return await collect_events(response)

    *messages, done = await events()
    assert [event.data for event in messages] == ["1", "2", "3"]
    assert (done.event, json.loads(done.data)) == ("done", {"items": 3})
    rest = await events(**{"last-event-id": messages[1].id})
    assert [event.data for event in rest] == ["3", '{"items":1}']
    reset, *_ = await events(**{"last-event-id": "other"})
    assert reset.event == "reset"
    lines = await http.get("/channels/e", headers={"accept": "application/jsonl"})
    assert lines.text == "1\n2\n3\n"
    batch = await http.get("/channels/e", headers={"accept": "application/json"})
    assert batch.json() == {"data": [1, 2, 3]}
    assert (await http.get("/channels/e")).json() == [1, 2, 3]


async def test_a_channel_of_python_is_the_same_channel_and_keeps_its_type(http):
    await typed.publish(Order(id=1), id="a")
    assert (await http.get("/channels/typed/a")).json() == [{"id": 1}]
    written = await http.post("/channels/typed/a", headers=JSON, json=[{"id": "2"}])
    assert written.status_code == 204
    wrong = await http.post("/channels/typed/a", headers=JSON, json={"other": 2})
    assert wrong.status_code == 422
    for number in range(30):
        created = await http.put("/channels/typed/b", headers=JSON)
        assert created.status_code in (200, 201)
        await http.post("/channels/typed/b", headers=JSON, json={"id": number})
    assert [each.item.id for each in await typed.read(id="b")] == [*range(20, 30)]
    assert (await http.put("/channels/typed/c", headers=TEXT)).status_code == 409
    assert (await http.put("/channels/typed/c", headers=JSON, json="x")).status_code == 422
    assert [each.item.id for each in await typed.read(id="a")] == [1, 2]


async def test_a_ttl_is_renewed_by_use(http):
    await http.put("/channels/ttl", headers=TEXT | {"stream-ttl": "100"})
    assert (await http.head("/channels/ttl")).headers["stream-ttl"] == "100"
    await http.get("/channels/ttl")
    assert (await http.put("/channels/ttl", headers=TEXT | {"stream-ttl": "9"})).status_code == 409


async def test_a_route_of_the_app_wins(http):
    assert (await http.get("/channels/own/one")).json() == "the app's"
    assert (await http.put("/channels/own/two", headers=TEXT)).status_code == 201


async def test_they_are_off_unless_wanted():
    async with serving(channels=False) as http:
        assert (await http.put("/channels/a", headers=TEXT)).status_code == 404


async def test_a_function_of_the_app_says_who_may_do_what():
    asked = []

    async def rule(request, name, action):
        asked.append((name, action))
        return request.headers.get("x-user") == "writer" or action == "read"

    async with serving(channels=rule) as http:
        writer = {"x-user": "writer"}
        assert (await http.put("/channels/r", headers=TEXT)).status_code == 403
        assert (await http.put("/channels/r", headers=TEXT | writer)).status_code == 201
        assert (await http.post("/channels/r", headers=TEXT, content="x")).status_code == 403
        assert (await http.delete("/channels/r")).status_code == 403
        assert (await http.get("/channels/r")).status_code == 200
        assert (await http.delete("/channels/r", headers=writer)).status_code == 204
    assert [action for _, action in asked] == [
        *("create", "create", "write", "delete", "read", "delete")
    ]


@pytest.mark.parametrize("rule", ["yes", lambda request: True, 5])
def test_a_rule_that_cannot_be_asked_is_refused_at_once(rule):
    with pytest.raises(TypeError, match="a bool or a function of \\(request, name, action\\), not"):
        install(FastAPI(), channels=rule)


async def test_without_a_function_only_the_owner_has_the_channel():
    async with serving(owner=lambda request: request.headers.get("x-user", "")) as http:
        mine, other = {"x-user": "me"}, {"x-user": "other"}
        assert (await http.put("/channels/m", headers=TEXT | mine)).status_code == 201
        assert (await http.put("/channels/m", headers=TEXT | other)).status_code == 409
        assert (await http.post("/channels/m", headers=TEXT | other)).status_code == 404
        for call in (http.get, http.head, http.delete):
            assert (await call("/channels/m", headers=other)).status_code == 404
        assert (await http.get("/channels/m", headers=mine)).status_code == 200


async def test_keys_and_limits_are_those_of_the_app():
    admission = Admission(keys=["long-enough-key"], streams=1)
    async with serving(admission=admission, event_bytes=10) as http:
        assert (await http.put("/channels/k", headers=TEXT)).status_code == 401
        http.headers["authorization"] = "Bearer long-enough-key"
        assert (await http.put("/channels/k", headers=TEXT, content="x")).status_code == 201
        large = await http.post("/channels/k", headers=TEXT, content="x" * 11)
        assert large.status_code == 413
        async with http.stream("GET", "/channels/k?offset=-1&live=sse") as response:
            assert response.status_code == 200
            assert (await http.get("/channels/k")).status_code in (429, 503)
        for _ in range(3):  # the slot is free again
            async with asyncio.timeout(60):
                while (await http.get("/channels/k")).status_code != 200:
                    await asyncio.sleep(0)


async def test_a_recorded_stream_is_read_in_the_protocol_too():
    app = FastAPI()
    install(app, signals=False)

    @app.get("/count")
    @dual_mode(record=True)
    async def count(fails: bool = False) -> AsyncIterator[int | ServerSentEvent]:
        yield 1
        yield ServerSentEvent(data="text", event="note")
        if fails:
            raise HTTPException(418, "it broke", {"x-cause": "tea"})

    async with app.router.lifespan_context(app):
        client = httpx.AsyncClient(transport=StreamingTransport(app), base_url="http://test")
        async with client as http:
            for query, last in (("", []), ("?fails=1", [{"error": {"status": 418}}])):
                whole = await http.get(f"/count{query}", headers=EVENTS)
                place = whole.headers["location"]
                read = await http.get(f"{place}?offset=-1")
                first, text, *rest = read.json()
                assert (first, text, len(rest)) == (1, "text", len(last))
                for one, expected in zip(rest, last, strict=True):
                    assert one["error"]["status"] == expected["error"]["status"]
                    assert not {"headers", "raised"} & one["error"].keys()
                assert read.headers["stream-closed"] == "true"
                end = read.headers["stream-next-offset"]
                assert (await http.get(f"{place}?offset={end}")).json() == []
                poll = await http.get(f"{place}?offset={end}&live=long-poll")
                assert (poll.status_code, poll.headers["stream-closed"]) == (204, "true")
                async with http.stream("GET", f"{place}?offset=-1&live=sse") as response:
                    events = await collect_events(response)
                assert [event.event for event in events[::2]] == ["data"] * (2 + len(last)) + [
                    "control"
                ]
                assert json.loads(events[-1].data)["streamNextOffset"] == end
                assert (await http.get(f"{place}?offset=x")).status_code == 400
