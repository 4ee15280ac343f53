"""The test transport behaves like a server, also if the app or the client misbehaves."""

import asyncio
import contextlib

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from dual_mode_streaming.testing import StreamingTransport
from tests.web.asgi import on_virtual_clock

START = {"type": "http.response.start", "status": 200, "headers": []}


def body(data: bytes = b"", *, more: bool = False) -> dict:
    return {"type": "http.response.body", "body": data, "more_body": more}


def client_of(app, **options) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=StreamingTransport(app, **options), base_url="http://test", timeout=None
    )


@pytest.fixture(autouse=True)
async def nothing_hangs():
    async with asyncio.timeout(60):
        yield


@pytest.mark.parametrize("count", [0, -1])
def test_a_buffer_without_a_bound_is_refused(count):
    with pytest.raises(ValueError, match="buffered_chunks"):
        StreamingTransport(None, buffered_chunks=count)


async def test_a_head_request_gets_no_body():
    async with client_of(PlainTextResponse("text")) as client:
        response = await client.head("/")
    assert response.headers["content-length"] == "4"
    assert response.content == b""


async def test_the_scope_has_the_address_as_from_a_server():
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)
        await Response()(scope, receive, send)

    async with client_of(app) as client:
        await client.get("/a%2Fb/%C3%A4?x=%20")
        await client.get("https://test:8443/")
        await client.get("https://test/")
    assert scopes[0]["path"] == "/a/b/ä"
    assert scopes[0]["raw_path"] == b"/a%2Fb/%C3%A4"
    assert scopes[0]["query_string"] == b"x=%20"
    assert [scope["server"] for scope in scopes] == [("test", 80), ("test", 8443), ("test", 443)]


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([body(b"a")], None),
        ([body(b"a", more=True), body(b"b", more=True), body(b"c")], None),
        ([START, START], None),
        ([START, body(b"a"), body(b"b")], b"a"),
        ([START, body(b"a"), START], b"a"),
        ([START, {"type": "http.response.trailers"}, body(b"a")], None),
    ],
)
async def test_messages_out_of_order_are_an_error_of_the_app(messages, text):
    seen = []

    async def app(scope, receive, send):
        try:
            for message in messages:
                await send(message)
        except RuntimeError as error:
            seen.append(str(error))
            raise

    async with client_of(app) as client:
        if text is None:
            with pytest.raises((RuntimeError, httpx.RemoteProtocolError)):
                await client.get("/")
        else:
            assert (await client.get("/")).content == text
    assert len(seen) == 1
    assert "unexpected" in seen[0]


async def test_after_its_response_an_app_receives_a_disconnect():
    async def app(scope, receive, send):
        await send(START)
        await send(body(b"a"))
        while (await receive())["type"] != "http.disconnect":
            pass

    async with client_of(app) as client:
        assert (await client.get("/")).content == b"a"


async def test_an_app_that_waits_for_the_body_receives_the_disconnect():
    seen = []

    async def endless():
        yield b"a"
        await asyncio.Event().wait()

    async def app(scope, receive, send):
        seen.append(await receive())
        await send(START)
        seen.append(await receive())

    async with client_of(app) as client:
        async with client.stream("POST", "/", content=endless()):
            pass
    assert [message["type"] for message in seen] == ["http.request", "http.disconnect"]


async def test_a_receive_that_is_cancelled_loses_nothing_of_the_body():
    gate = asyncio.Event()

    async def upload():
        await gate.wait()
        yield b"a"
        yield b"b"

    async def app(scope, receive, send):
        request = Request(scope, receive)
        assert not await request.is_disconnected()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(receive(), 0.01)
        gate.set()
        await Response(await request.body())(scope, receive, send)

    async with client_of(app) as client:
        assert (await client.post("/", content=upload())).content == b"ab"


async def test_two_tasks_may_receive_at_once():
    async def upload():
        for chunk in (b"a", b"b"):
            await asyncio.sleep(0)
            yield chunk

    async def app(scope, receive, send):
        messages = await asyncio.gather(receive(), receive())
        await Response(b"".join(m["body"] for m in messages))(scope, receive, send)

    async with client_of(app) as client:
        assert sorted((await client.post("/", content=upload())).content) == [97, 98]


@pytest.mark.parametrize("raise_app_exceptions", [True, False])
@pytest.mark.parametrize("begun", [True, False])
async def test_an_error_in_the_request_body_is_raised_and_is_a_disconnect_for_the_app(
    begun, raise_app_exceptions
):
    seen = []

    async def upload():
        yield b"a"
        raise KeyError("in the test")

    async def app(scope, receive, send):
        if begun:
            await send(START)
        while not seen or seen[-1] != "http.disconnect":
            seen.append((await receive())["type"])
        await Response("bad request", 400)(scope, receive, send)

    async with client_of(app, raise_app_exceptions=raise_app_exceptions) as client:
        with pytest.raises(KeyError, match="in the test"):
            await client.post("/", content=upload())
    assert seen == ["http.request", "http.disconnect"]


async def test_a_request_body_is_closed_in_the_task_that_ran_it():
    tasks = []

    class Upload(httpx.AsyncByteStream):
        async def __aiter__(self):
            tasks.append(asyncio.current_task())
            try:
                yield b"a"
                yield b"b"
            finally:
                tasks.append(asyncio.current_task())

    async def app(scope, receive, send):
        await receive()
        await Response()(scope, receive, send)

    request = httpx.Request("POST", "http://test/", stream=Upload())
    async with client_of(app) as client:
        await client.send(request)
    assert len(tasks) == 2
    assert tasks[0] is tasks[1]


@on_virtual_clock
async def test_a_client_that_is_cancelled_before_the_start_is_a_disconnect_and_no_error():
    seen = []

    async def app(scope, receive, send):
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.request"
        seen.append((await receive())["type"])
        try:
            await send(START)
            await send(body(b"too late"))
        except BaseException as error:
            seen.append(error)
            raise

    async with client_of(app) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await client.get("/")
    assert seen == ["http.disconnect"]


async def test_a_start_at_the_moment_of_the_cancellation_is_no_error():
    seen = []
    waiting = asyncio.Event()

    async def app(scope, receive, send):
        waiting.set()
        await release.wait()
        try:
            await send(START)
            await send(body(b"x"))
        except BaseException as error:
            seen.append(error)
            raise

    release = asyncio.Event()
    async with client_of(app) as client:
        task = asyncio.create_task(client.get("/"))
        await waiting.wait()
        release.set()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert seen == []


async def test_an_app_that_lets_a_cancellation_out_does_not_cancel_the_client():
    async def app(scope, receive, send):
        raise asyncio.CancelledError

    async with client_of(app) as client:
        with pytest.raises(httpx.RemoteProtocolError, match="cancelled"):
            await client.get("/")


async def test_an_app_that_sends_forever_after_a_disconnect_does_not_block_the_loop():
    stop = asyncio.Event()

    async def app(scope, receive, send):
        await send(START)
        while not stop.is_set():
            await send(body(b"x", more=True))

    async with client_of(app, close_timeout=0.02) as client:
        with pytest.raises(TimeoutError):
            async with client.stream("GET", "/"):
                pass
    stop.set()


def test_unread_chunks_do_not_keep_a_loop_from_ending():
    async def app(scope, receive, send):
        await send(START)
        await send(body(b"a", more=True))
        await asyncio.Event().wait()

    async def main():
        client = client_of(app)
        response = await client.send(client.build_request("GET", "/"), stream=True)
        assert response.status_code == 200
        await asyncio.sleep(0)

    asyncio.run(main())
