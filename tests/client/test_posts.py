"""POST, which must not be sent twice; and batch documents."""

import asyncio
import json

import httpx
import pytest
from pydantic import BaseModel

from dual_mode_streaming.client import (
    AsyncDualModeClient,
    ConnectionFailed,
    Reconnect,
    RequestRefused,
    StreamTruncated,
    UnexpectedContent,
    UnreadableAnswer,
)
from tests.helpers.scripted import DONE, Answer, items, page

pytestmark = pytest.mark.asyncio(loop_scope="package")

RECORDED = {"location": "/streams/e"}


class Document(BaseModel):
    data: list[int]


async def test_a_recorded_post_is_resumed_by_get(server, harness):
    server.then(
        Answer(items(1), "cut", headers=RECORDED),
        page(503, retry_after="0"),
        Answer([*items(2), DONE]),
    )
    headers = {"authorization": "Bearer k", "idempotency-key": "i"}
    url = server.url + "/answers?x=1"
    await harness.read(url, method="POST", json={"n": 2}, headers=headers)
    assert harness.data == [1, 2]
    post, *gets = server.asked
    assert (post.method, post.target, json.loads(post.body)) == ("POST", "/answers?x=1", {"n": 2})
    assert [(get.method, get.target, get.body) for get in gets] == [("GET", "/streams/e", b"")] * 2
    assert server.cursors == [None, "e.1.1", "e.1.1"]
    for get in gets:
        assert get.headers["authorization"] == "Bearer k"
        assert not get.headers.keys() & {"content-type", "content-length", "idempotency-key"}


@pytest.mark.parametrize("events", [[], items(1)])
@pytest.mark.parametrize("headers", [{}, {"idempotency-key": "i"}])
async def test_a_post_is_not_sent_again_once_its_stream_has_begun(server, harness, events, headers):
    server.then(Answer(events, "cut"))
    with pytest.raises(StreamTruncated, match="POST") as caught:
        await harness.read(server.url, method="post", json={}, headers=headers)
    assert caught.value.count == len(events)
    assert len(server.asked) == 1


async def test_a_post_that_was_put_off_is_sent_again(server, harness):
    server.then(page(503, retry_after="0"), Answer([*items(1), DONE]))
    await harness.read(server.url, method="POST", content=b"text")
    assert harness.data == [1]
    assert [asked.body for asked in server.asked] == [b"text", b"text"]


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_post_that_may_have_been_taken_is_not(server, harness, status):
    server.then(page(status))
    with pytest.raises(RequestRefused):
        await harness.read(server.url, method="POST")
    assert len(server.asked) == 1


@pytest.mark.parametrize(("headers", "times"), [({}, 1), ({"idempotency-key": "i"}, 3)])
async def test_a_post_without_any_answer(harness, headers, times):
    """The server takes the request, and closes the connection without a word."""

    async def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    connections: list[bytes] = []
    async with await asyncio.start_server(taken, "127.0.0.1", 0) as listening:
        host, port = listening.sockets[0].getsockname()
        url = f"http://{host}:{port}/"
        twice = Reconnect(attempts=2, delay=0, max_wait=0.01, jitter=0)
        for ask in (
            harness.read(url, method="POST", headers=headers, reconnect=twice),
            harness.ask("post", url, headers=headers, reconnect=twice),
        ):
            with pytest.raises(ConnectionFailed):
                await ask
            assert len(connections) == times
            connections.clear()


class TestWhole:
    async def test_the_document(self, server, harness):
        server.then(page(200, {"data": [1, 2]}, "application/json; charset=utf-8"))
        assert await harness.ask("get", server.url + "/x", params={"n": "2"}) == {"data": [1, 2]}
        assert server.asked[0].target == "/x?n=2"
        assert server.asked[0].headers["accept"] == "application/json"

    async def test_as_a_model(self, server, harness):
        server.then(page(200, {"data": [1, 2]}, "application/json"))
        assert await harness.ask("post", server.url, model=Document, json=[1]) == Document(
            data=[1, 2]
        )
        assert (server.asked[0].method, server.asked[0].body) == ("POST", b"[1]")

    async def test_none_at_all(self, server, harness):
        server.then(Answer(status=204, media=None))
        assert await harness.ask("get", server.url) is None

    async def test_of_another_type(self, server, harness):
        server.then(page(200, {"data": "x"}, "application/json"))
        with pytest.raises(UnreadableAnswer):
            await harness.ask("get", server.url, model=Document)

    async def test_no_json(self, server, harness):
        server.then(page(200, b"<html>", "text/html"))
        with pytest.raises(UnexpectedContent, match="html"):
            await harness.ask("get", server.url)
        server.then(page(200, b"{", "application/json"))
        with pytest.raises(UnreadableAnswer):
            await harness.ask("get", server.url)

    async def test_later(self, server, harness):
        server.then(
            page(503, retry_after="0"),
            page(202, {"state": "running"}, "application/json", retry_after="0"),
            page(200, [1], "application/json"),
        )
        assert await harness.ask("get", server.url) == [1]
        server.then(page(202, {"state": "running"}, "application/json", retry_after="0"))
        with pytest.raises(RequestRefused) as caught:
            await harness.ask("get", server.url, reconnect=Reconnect(attempts=1, delay=0))
        assert (caught.value.status, caught.value.problem) == (202, {"state": "running"})

    async def test_a_refusal(self, server, harness):
        server.then(page(422, {"title": "No", "errors": [1]}))
        with pytest.raises(RequestRefused, match="422: No") as caught:
            await harness.ask("post", server.url)
        assert caught.value.problem["errors"] == [1]
        assert len(server.asked) == 1


async def test_what_makes_no_sense_is_told_at_once(harness):
    for options in ({"conent": b""}, {"content": iter([b""])}, {"retries": 3}):
        with pytest.raises(TypeError):
            await harness.read("http://x.invalid", **options)
    for number in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="attempts"):
            Reconnect(attempts=number)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["POST", "GET", "get"])
async def test_an_answer_without_a_byte_is_no_document_of_a_model(method):
    def empty(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "application/json"})

    http_client = httpx.AsyncClient(transport=httpx.MockTransport(empty), base_url="http://a")
    async with AsyncDualModeClient(http_client=http_client) as client:
        with pytest.raises(UnreadableAnswer):
            await client.request(method, "/", dict[str, int])
        if method == "POST":
            assert await client.request(method, "/") is None
