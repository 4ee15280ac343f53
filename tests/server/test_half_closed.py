"""A client that closes its writing half is answered; one that has left is still noticed."""

import asyncio
import socket
from contextlib import closing

import httpx
import pytest
from fastapi import FastAPI

from dual_mode_streaming import EventDecoder, dual_mode, install
from dual_mode_streaming.server.run import StreamingProtocol
from dual_mode_streaming.testing import serving

WANTED = {"batch": "application/json", "stream": "text/event-stream", "lines": "application/jsonl"}


def request(path, form="batch", version="1.1", body=b"", method="GET"):
    head = f"{method} {path} HTTP/{version}\r\nHost: x\r\nAccept: {WANTED[form]}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def connected(url):
    address = httpx.URL(url)
    return closing(socket.create_connection((address.host, address.port), timeout=60))


def read_all(connection, until=b""):
    got = b""
    while (not until or until not in got) and (data := connection.recv(65536)):
        got += data
    return got


def body_of(answer):
    """The body of an answer, without its chunks."""
    while answer.startswith(b"HTTP/1.1 100 "):
        answer = answer.partition(b"\r\n\r\n")[2]
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), answer
    if b"transfer-encoding: chunked" not in head:
        return rest
    body = b""
    while size := int((part := rest.partition(b"\r\n"))[0], 16):
        body, rest = body + part[2][:size], part[2][size + 2 :]
    return body


@pytest.mark.parametrize("when", ["with the request", "within the answer"])
@pytest.mark.parametrize("form", WANTED)
def test_a_half_closed_client_gets_the_whole_answer(service, form, when):
    with connected(service) as connection:
        connection.sendall(request("/data?count=4&interval=0.1", form))
        got = b""
        if when == "within the answer" and form != "batch":
            got = read_all(connection, b"Item 1")
        connection.shutdown(socket.SHUT_WR)
        body = body_of(got + read_all(connection))
    assert body.count(b"Item ") == 4
    if form == "stream":
        events = EventDecoder().feed(body)
        assert [event.event for event in events][-1] == "done"
        assert len(events) == 5


@pytest.mark.parametrize("path", ["/healthz", "/openapi.json"])
def test_a_half_closed_client_gets_a_plain_answer(service, path):
    with connected(service) as connection:
        connection.sendall(request(path))
        connection.shutdown(socket.SHUT_WR)
        assert body_of(read_all(connection)).startswith(b"{")


def test_a_half_closed_post_is_answered_and_half_a_request_is_not(service):
    whole = request("/chat", body=b'{"messages": "Hello"}', method="POST")
    for sent, answered in ((whole, True), (whole[:-4], False), (whole[:20], False)):
        with connected(service) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            got = read_all(connection)
            assert (b"HTTP/1.1 200 " in got) == answered, got


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("form", WANTED)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("first", [0, 1])
def test_a_client_that_has_left_is_noticed_while_its_generator_is_silent(
    loop, form, version, first
):
    app = FastAPI()
    install(app)
    begun, closed = asyncio.Event(), asyncio.Event()

    @app.get("/")
    @dual_mode(heartbeat=3600, grace=3600)
    async def silent():
        try:
            for number in range(first):
                yield number
            begun.set()
            await asyncio.sleep(3600)
        finally:
            closed.set()

    async def leave():
        async with serving(app, http=StreamingProtocol) as url:
            connection = await asyncio.to_thread(lambda: connected(url).thing)
            connection.sendall(request("/", form, version))
            async with asyncio.timeout(60):
                await begun.wait()
                if first and form != "batch":
                    await asyncio.to_thread(connection.recv, 65536)
                connection.close()
                await closed.wait()

    if loop == "uvloop":
        import uvloop

        uvloop.run(leave())
    else:
        asyncio.run(leave())
