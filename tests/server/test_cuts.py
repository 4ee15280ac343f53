"""Requests that end in the middle, at every byte: nothing is logged as a failure, nothing stays."""

import asyncio
import contextlib
import json
import logging
import re
import socket
import struct

import httpx
import pytest

from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.run import StreamingProtocol
from dual_mode_streaming.server.settings import Settings
from dual_mode_streaming.testing import serving


def post(path: str, body: dict[str, object], *, chunked: bool = False, head: str = "") -> bytes:
    text = json.dumps(body).encode()
    lines = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{head}"
    if not chunked:
        return f"{lines}Content-Length: {len(text)}\r\n\r\n".encode() + text
    parts = [text[:10], text[10:25], text[25:]]
    chunks = b"".join(b"%x;x=y\r\n%b\r\n" % (len(part), part) for part in parts)
    return f"{lines}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\nT: x\r\n\r\n"


MESSAGES = [{"role": "user", "content": "Hi"}]
CLAUDE = {"model": "simulator", "max_tokens": 9, "stream": True, "messages": MESSAGES}
STREAM = b"GET /data?count=99&interval=9&stream=true HTTP/1.1\r\nHost: x\r\n\r\n"
EVENTS = b"Accept: text/event-stream\r\n"
FEW = {
    "a stream": STREAM,
    "Anthropic's": post("/v1/messages", CLAUDE),
    "a chat in chunks": post("/chat", {"messages": MESSAGES, "stream": True}, chunked=True),
}
MANY = {
    "a chat": post("/chat", {"messages": MESSAGES}, head=EVENTS.decode()),
    "a chat that goes on": post("/chat", {"messages": MESSAGES}, head="Prefer: respond-async\r\n"),
    "Anthropic's in chunks": post("/v1/messages", CLAUDE, chunked=True),
    "tokens": post("/v1/messages/count_tokens", CLAUDE),
    "OpenAI's": post("/v1/chat/completions", CLAUDE),
    "OpenAI's responses": post("/v1/responses", {"model": "simulator", "input": "Hi"}),
    "a feed": b"GET /events HTTP/1.1\r\nHost: x\r\n" + EVENTS + b"\r\n",
    "a batch": STREAM.replace(b"stream=true", b"stream=false"),
    "a cancellation": b"POST /streams/%b/cancel HTTP/1.1\r\nHost: x\r\n\r\n" % (b"0" * 32),
    "some at once": STREAM + post("/v1/messages", CLAUDE) + STREAM,
}


async def cut(address: httpx.URL, request: bytes, *, reset: bool, reads: bool) -> None:
    """Send it, perhaps wait for some of an answer, and go."""
    with contextlib.suppress(ConnectionError):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        try:
            writer.write(request)
            if reads:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await reader.read(1)
            if reset:
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        finally:
            writer.close()
            await writer.wait_closed()


@pytest.mark.parametrize(
    ("requests", "ways"),
    [
        pytest.param(FEW, [(True, False), (False, False)], id="few"),
        pytest.param(
            FEW | MANY,
            [(reset, reads) for reset in (True, False) for reads in (True, False)],
            id="all",
            marks=[pytest.mark.full, pytest.mark.timeout(300)],
        ),
    ],
)
async def test_requests_cut_at_every_byte(requests, ways, caplog):
    caplog.set_level(logging.ERROR)
    app = create_app(Settings(llm={"first": 0, "rate": 0}))
    room = asyncio.Semaphore(50)
    async with (
        serving(app, http=StreamingProtocol, log_config=None) as url,
        httpx.AsyncClient() as client,
    ):
        address = httpx.URL(url)

        async def streams() -> float:
            text = (await client.get(f"{url}/metrics")).text
            return sum(map(float, re.findall(r"^dual_mode_streams_open\S* (\S+)$", text, re.M)))

        async def within(request: bytes, **way: bool) -> None:
            async with room:
                await cut(address, request, **way)

        assert await streams() == 0
        before = asyncio.all_tasks()
        for request in requests.values():
            for reset, reads in ways:
                await asyncio.gather(
                    *(
                        within(request[:end], reset=reset, reads=reads)
                        for end in range(len(request) + 1)
                    )
                )
        async with asyncio.timeout(60):
            while await streams() or asyncio.all_tasks() - before:
                await asyncio.sleep(0.01)  # nobody tells
        assert (await client.get(f"{url}/healthz")).json() == {"status": "ok"}
    assert not caplog.records, caplog.text
