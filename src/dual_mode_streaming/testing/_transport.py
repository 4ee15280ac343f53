"""An httpx transport that calls an ASGI app in this process and really streams.

`httpx.ASGITransport` and Starlette's TestClient collect the whole body first, so that an endless
stream hangs the test. Here the app runs beside the test and its chunks arrive as they are sent.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import httpx

__all__ = ["StreamingTransport"]

Message = dict[str, Any]

_PORTS = {"http": 80, "https": 443}


class StreamingTransport(httpx.AsyncBaseTransport):
    """Runs `app` for every request; closing a response is the client's disconnect.

    Args:
        app: the ASGI application.
        buffered_chunks: so many chunks may wait for the reader; then the app's `send` waits, as it
            does on a full socket.
        close_timeout: how long the app may take, in seconds, to end after a disconnect.
        raise_app_exceptions: raise what the app raises before the response has begun; otherwise it
            is a 500. What it raises later is always an httpx.RemoteProtocolError of the reader.
        client: the address that the app sees.

    A response that is closed early gives the app its disconnect and waits until it has ended, so a
    test can look at what was cleaned up; TimeoutError if it does not end in `close_timeout`. An
    error in the request's own body is raised as it is; to the app it is a disconnect.

    Raises ValueError if no chunk may wait.
    """

    def __init__(
        self,
        app: Any,
        *,
        buffered_chunks: int = 1,
        close_timeout: float = 5.0,
        raise_app_exceptions: bool = True,
        client: tuple[str, int] = ("127.0.0.1", 123),
    ) -> None:
        if buffered_chunks < 1:
            raise ValueError(f"buffered_chunks must be at least 1, not {buffered_chunks!r}")
        self._app = app
        self._buffered_chunks = buffered_chunks
        self._close_timeout = close_timeout
        self._raise_app_exceptions = raise_app_exceptions
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Start the app on the request, and return when it has begun its response."""
        assert isinstance(request.stream, httpx.AsyncByteStream)
        exchange = _Exchange(
            request.stream,
            self._buffered_chunks,
            self._close_timeout,
            bodiless=request.method == "HEAD",
        )
        url = request.url
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "root_path": "",
            "query_string": url.query,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "server": (url.host, url.port or _PORTS.get(url.scheme)),
            "client": self._client,
            "extensions": {},
        }
        try:
            start = await exchange.begin(self._app, scope)
        except BaseException as error:
            await exchange.aclose()
            apps = isinstance(error, Exception) and error is not exchange.upload_error
            if apps and not self._raise_app_exceptions:
                return httpx.Response(500)
            raise
        return httpx.Response(start["status"], headers=start.get("headers", []), stream=exchange)


class _Exchange(httpx.AsyncByteStream):
    """One request, and the body of its response as a stream."""

    def __init__(
        self,
        upload: httpx.AsyncByteStream,
        buffered: int,
        close_timeout: float,
        *,
        bodiless: bool,
    ) -> None:
        self.upload_error: BaseException | None = None
        self._upload = upload
        self._buffered = buffered
        self._close_timeout = close_timeout
        self._bodiless = bodiless  # a server lets the body of an answer to HEAD go
        self._started: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._app_task: asyncio.Task[None] | None = None
        self._upload_task: asyncio.Task[None] | None = None

        self._requested: deque[Message] = deque()  # on its way to the app
        self._wanted = asyncio.Event()  # by the app, of the request's body
        self._to_receive = asyncio.Event()
        self._chunks: deque[bytes] = deque()  # on their way to the reader
        self._room = asyncio.Event()
        self._to_read = asyncio.Event()

        self._begun = False
        self._complete = False
        self._gone = False  # the client
        self._ended = False  # the app
        self._error: BaseException | None = None

    async def begin(self, app: Any, scope: dict[str, Any]) -> Message:
        self._app_task = asyncio.create_task(self._run(app, scope))
        return await self._started

    async def _run(self, app: Any, scope: dict[str, Any]) -> None:
        error: BaseException = httpx.RemoteProtocolError("the app ended its response too early")
        try:
            await app(scope, self._receive, self._send)
        except asyncio.CancelledError as cancelled:
            error = httpx.RemoteProtocolError("the app was cancelled")
            error.__cause__ = cancelled
        except BaseException as raised:
            error = raised
        if not self._started.done():
            self._started.set_exception(error)
        self._error = None if self._complete else error
        self._ended = True
        self._to_read.set()

    async def _run_upload(self) -> None:
        """Read the request's body as the app asks for it, in one task however it asks."""
        chunks = self._upload.__aiter__()
        try:
            more = True
            while more:
                await self._wanted.wait()
                self._wanted.clear()
                try:
                    chunk = await anext(chunks)
                except StopAsyncIteration:
                    more, chunk = False, b""
                message = {"type": "http.request", "body": chunk, "more_body": more}
                self._requested.append(message)
                self._to_receive.set()
        except BaseException as error:
            if self._gone:
                return
            if not isinstance(error, Exception):
                error = httpx.WriteError(f"the request's body ended by {error!r}")
            self.upload_error = error
            if not self._started.done():
                self._started.set_exception(error)
            self._leave()
        finally:
            if (close := getattr(chunks, "aclose", None)) is not None:
                await close()

    async def _receive(self) -> Message:
        while not (self._gone or self._complete):
            if self._requested:
                return self._requested.popleft()
            if self._upload_task is None:
                self._upload_task = asyncio.create_task(self._run_upload())
            self._wanted.set()
            self._to_receive.clear()
            await self._to_receive.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._gone:  # servers drop it silently
            return await asyncio.sleep(0)
        kind = message["type"]
        if kind == "http.response.start" and not self._begun:
            self._begun = True
            if not self._started.done():  # the client may be cancelled at this very moment
                self._started.set_result(message)
        elif kind == "http.response.body" and self._begun and not self._complete:
            if (body := message.get("body", b"")) and not self._bodiless:
                await self._hand_over(bytes(body))
            if not message.get("more_body", False):
                self._complete = True
                self._to_receive.set()
        else:
            state = "complete" if self._complete else "begun" if self._begun else "not begun"
            raise RuntimeError(f"unexpected ASGI message {kind!r}: the response is {state}")

    async def _hand_over(self, chunk: bytes) -> None:
        while len(self._chunks) >= self._buffered and not self._gone:
            self._room.clear()
            await self._room.wait()
        self._chunks.append(chunk)
        self._to_read.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.upload_error is None and (self._chunks or not self._ended):
            if self._chunks:
                chunk = self._chunks.popleft()
                self._room.set()
                yield chunk
            else:
                self._to_read.clear()
                await self._to_read.wait()
        if self.upload_error is not None:
            raise self.upload_error
        if self._error is not None:
            raise httpx.RemoteProtocolError("the response broke off") from self._error

    def _leave(self) -> None:
        self._gone = True
        for waited_for in (self._to_receive, self._room, self._to_read):
            waited_for.set()

    async def aclose(self) -> None:
        if not self._gone and self._upload_task is not None:
            self._upload_task.cancel()
        self._leave()
        if tasks := {task for task in (self._app_task, self._upload_task) if task is not None}:
            async with asyncio.timeout(self._close_timeout):
                await asyncio.wait(tasks)
