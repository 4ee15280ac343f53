"""The service: whatever is asked, it answers with no 5xx but what it means, and logs no failure."""

import asyncio
import contextlib
import json
import logging
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from socket import SO_LINGER, SOL_SOCKET
from typing import Any
from urllib.parse import unquote

import httpx

from dual_mode_streaming import BrokenTransfer, EventDecoder
from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.run import HttpLimits, StreamingProtocol
from dual_mode_streaming.server.settings import Settings
from dual_mode_streaming.testing import serving
from dual_mode_streaming.web import app_state

from . import seeds
from .making import as_body, bent, bent_json, cut

One = Callable[[Random], Awaitable[None]]

MEANT = {503, 504}
"""No room, or draining; a batch that takes too long."""

METHODS = ("GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "DELETE", "PUT", "PATCH", "TRACE", "X")


def small() -> Any:
    """The service, with limits that are soon met."""
    limits = {"recordings": 50, "recordings_bytes": 2_000_000, "retention": 2}
    times = {
        "llm": {"first": 0, "rate": 0},
        "stream_limit": 0.1,
        "batch_seconds": 0.1,
        "grace": 0.05,
    }
    return create_app(Settings(batch_items=500, **limits, **times))


class Log(logging.Handler):
    """What has been logged as a failure of ours: a model that there is not is the client's."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.failures: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or not record.name.startswith("dual_mode_streaming"):
            self.failures.append(logging.Formatter().format(record)[-2000:])


@contextlib.contextmanager
def logged():
    """Sees what is logged meanwhile; AssertionError at the end, if that was a failure."""
    log, root = Log(), logging.getLogger()
    root.addHandler(log)
    try:
        yield log
    finally:
        root.removeHandler(log)


async def all_closed(app: Any) -> None:
    """Nothing is left open."""
    async with asyncio.timeout(10):
        while app_state(app).open_answers:
            await asyncio.sleep(0.01)  # nobody tells


async def ask(app: Any, method: str, target: bytes, headers: Any, body: list[bytes]) -> None:
    """One exchange by ASGI; its reader leaves after some of an answer that does not end."""
    path, _, query = target.partition(b"?")
    chunks, messages, gone = list(body), [], asyncio.Event()

    async def receive() -> dict[str, Any]:
        if chunks:
            chunk = chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)
        if len(messages) > 50:
            gone.set()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path.decode("latin-1")),
        "raw_path": path,
        "root_path": "",
        "query_string": query,
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "extensions": {},
        "state": {},
    }
    leave = asyncio.get_running_loop().call_later(0.3, gone.set)
    try:
        await app(scope, receive, send)
    except BrokenTransfer:  # how lines say that they are not whole
        assert messages[-1].get("more_body", True)
    finally:
        leave.cancel()
    check(method, path.decode("latin-1"), messages)


def check(method: str, path: str, messages: list[dict[str, Any]]) -> None:
    status = messages[0]["status"]
    assert status < 500 or status in MEANT, f"{method} {path}: {status}"
    head = {
        name.decode().lower(): value.decode("latin-1") for name, value in messages[0]["headers"]
    }
    assert not any(set("\r\n\0") & set(value) for value in head.values()), head
    body = b"".join(message.get("body", b"") for message in messages[1:])
    kind = head.get("content-type", "")
    if not body or method == "HEAD":
        return
    if kind.startswith("text/event-stream"):
        EventDecoder().feed(body)
    elif "json" in kind and "jsonl" not in kind and "ndjson" not in kind:
        value = json.loads(body)
        if path in seeds.BODIES and path.startswith("/v1/") and status not in (404, 405):
            told = status < 400 or isinstance(value["error"]["message"], str)
            assert told, f"{path}: {value}"


@contextlib.asynccontextmanager
async def routes() -> AsyncIterator[One]:
    """Any method, target and headers."""
    app = small()

    async def one(rng: Random) -> None:
        known = rng.choice(seeds.GETS)
        target = known if rng.random() < 0.4 else b"/" + bent(rng, [known], 3)[1:]
        names = rng.sample(list(seeds.HEADERS), rng.randint(0, 4))
        headers = [
            (name, bent(rng, seeds.HEADERS[name], 2).translate(None, b"\r\n\0")) for name in names
        ]
        await ask(app, rng.choice(METHODS), target, headers, [b""])

    async with app.router.lifespan_context(app):
        yield one
        await all_closed(app)


@contextlib.asynccontextmanager
async def bodies() -> AsyncIterator[One]:
    """Any JSON, and what is nearly JSON, to whatever takes a body."""
    app = small()

    async def one(rng: Random) -> None:
        path = rng.choice(list(seeds.BODIES))
        known = seeds.BODIES[path if rng.random() < 0.9 else rng.choice(list(seeds.BODIES))]
        body = cut(rng, as_body(rng, bent_json(rng, known)))
        headers = [(b"content-type", b"application/json")]
        for name in rng.sample(list(seeds.HEADERS), rng.choice((0, 0, 1))):
            headers.append((name, rng.choice(seeds.HEADERS[name]).translate(None, b"\r\n\0")))
        await ask(app, "POST", path.encode(), headers, body)

    async with app.router.lifespan_context(app):
        yield one
        await all_closed(app)


@contextlib.asynccontextmanager
async def sockets() -> AsyncIterator[One]:
    """Any bytes to the server, in any pieces, with any end."""
    app = small()
    served = serving(app, http=Impatient, log_config=None, log_level="error")
    async with served as url:
        address = httpx.URL(url)

        async def one(rng: Random) -> None:
            request = bent(rng, seeds.REQUESTS, 4)
            with contextlib.suppress(ConnectionError):
                reader, writer = await asyncio.open_connection(address.host, address.port)
                try:
                    for piece in cut(rng, request) if rng.random() < 0.3 else [request]:
                        writer.write(piece)
                        await writer.drain()
                    received = b""
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(1 if rng.random() < 0.1 else 0.02):
                            received = await reader.read(65536)
                    status = received[9:12]
                    refused = {*MEANT, 501, 505}  # another coding, another version
                    assert status < b"500" or int(status) in refused, received[:300]
                    if rng.random() < 0.5:
                        sock = writer.get_extra_info("socket")
                        sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
                finally:
                    writer.close()
                    await writer.wait_closed()

        yield one
        await all_closed(app)
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{url}/healthz")).json() == {"status": "ok"}


class Impatient(StreamingProtocol):
    """Which lets go soon of requests that are not finished."""

    limits = HttpLimits(header_timeout=1.0, body_timeout=1.0)


SERVICE = {"routes": routes, "bodies": bodies, "sockets": sockets}
