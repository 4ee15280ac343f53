"""A client made of nothing but ASGI messages: every await of a response is in the test's hands."""

import asyncio
import functools
import inspect
from collections.abc import Iterable
from contextlib import asynccontextmanager
from typing import Any

from dual_mode_streaming import EventDecoder, ServerSentEvent
from dual_mode_streaming.testing import run_with_virtual_clock


class Client:
    """One request to an ASGI app, and what comes back.

    `pause()` makes the app's `send` block, as a server does whose client reads nothing, until
    `resume()`. `leave()` delivers the disconnect.
    """

    def __init__(
        self,
        app: Any,
        path: str = "/",
        *,
        accept: str | None = "text/event-stream",
        method: str = "GET",
        query: str = "",
        headers: Iterable[tuple[str, str]] = (),
        body: Iterable[bytes] = (b"",),
        extensions: dict[str, Any] | None = None,
    ) -> None:
        raw = [(name.lower().encode(), value.encode()) for name, value in headers]
        if accept is not None:
            raw.append((b"accept", accept.encode()))
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": raw,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "extensions": extensions or {},
        }
        self.app = app
        self.chunks = list(body)
        self.messages: list[dict[str, Any]] = []
        self.gone = asyncio.Event()
        self.watched = asyncio.Event()  # the app waits for the disconnect
        self._readable = asyncio.Event()
        self._readable.set()
        self.blocked = asyncio.Event()
        self.news = asyncio.Condition()
        self.task: asyncio.Task[None] | None = None
        self.timeout = 60.0  # seconds

    async def receive(self) -> dict[str, Any]:
        if self.chunks:
            chunk = self.chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(self.chunks)}
        self.watched.set()
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        if not self._readable.is_set():
            self.blocked.set()
            await self._readable.wait()
        if self.gone.is_set():
            return  # as uvicorn does
        self.messages.append(message)
        async with self.news:
            self.news.notify_all()

    def pause(self) -> None:
        self._readable.clear()

    def resume(self) -> None:
        self._readable.set()

    def leave(self) -> None:
        self.gone.set()
        self.resume()

    async def run(self) -> "Client":
        """The whole exchange."""
        async with asyncio.timeout(self.timeout):
            await self.app(self.scope, self.receive, self.send)
        return self

    @asynccontextmanager
    async def running(self):
        """The exchange in the background; it must be over soon after the block."""
        self.task = asyncio.create_task(self.app(self.scope, self.receive, self.send))
        try:
            yield self
            async with asyncio.timeout(self.timeout):
                await self.task
        finally:
            self.task.cancel()

    async def until(self, text: bytes) -> None:
        """Wait until the body has `text`."""
        async with asyncio.timeout(self.timeout), self.news:
            await self.news.wait_for(lambda: text in self.body or self.task.done())
        assert text in self.body, self.body

    @property
    def status(self) -> int:
        return self.messages[0]["status"]

    @property
    def headers(self) -> dict[str, str]:
        pairs = self.messages[0]["headers"]
        assert len({name.lower() for name, _ in pairs} - {b"set-cookie"}) == len(
            [name for name, _ in pairs if name.lower() != b"set-cookie"]
        ), f"a header twice: {pairs}"
        return {name.decode().lower(): value.decode() for name, value in pairs}

    @property
    def body(self) -> bytes:
        return b"".join(m.get("body", b"") for m in self.messages[1:])

    @property
    def complete(self) -> bool:
        if not self.messages or self.messages[-1]["type"] != "http.response.body":
            return False
        return not self.messages[-1].get("more_body", False)

    @property
    def events(self) -> list[ServerSentEvent]:
        return EventDecoder().feed(self.body)


async def get(app: Any, path: str = "/", *, timeout: float = 60.0, **kwargs: Any) -> Client:
    """The finished exchange."""
    client = Client(app, path, **kwargs)
    client.timeout = timeout
    return await client.run()


def on_virtual_clock(test):
    """Run the test in a loop of its own, in which hours pass at once."""

    @functools.wraps(test)
    def run(*positional: Any, **arguments: Any) -> None:
        run_with_virtual_clock(test(*positional, **arguments))

    del run.__wrapped__  # or pytest would take it for a coroutine function
    run.__signature__ = inspect.signature(test)
    return run
