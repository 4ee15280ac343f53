"""An httpx transport that calls an ASGI app in this process and really streams.

`httpx.ASGITransport` and Starlette's TestClient collect the whole body first, so an endless stream
hangs the test. Here the app runs beside the test, and its chunks arrive as they are sent.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import httpx

Message = dict[str, Any]

_PORTS = {"http": 80, "https": 443}


class StreamingTransport(httpx.AsyncBaseTransport):
    """Runs `app` for every request; closing a response is the client's disconnect.

    Closing a response early sends the app a disconnect and waits until the app has ended, so a test
    can check what was cleaned up; TimeoutError if that takes longer than `close_timeout`. An error
    of the request's own body is raised as it is; for the app it is a disconnect.

    Args:
        app: the ASGI application.
        buffered_chunks: how many chunks may wait for the reader. Beyond that the app's `send`
            waits, as on a full socket.
        close_timeout: seconds that the app may take to end after a disconnect.
        raise_app_exceptions: raise what the app raises before its response starts; otherwise the
            response is a 500. What it raises later is an httpx.RemoteProtocolError for the reader.
        client: the client address that the app sees.

    Raises:
        ValueError: `buffered_chunks` is below 1.
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
        """Start the app, and return when it has started its response."""
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
            of_app = isinstance(error, Exception) and error is not exchange.upload_error
            if of_app and not self._raise_app_exceptions:
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
        self._bodiless = bodiless  # a server drops the body of the response to HEAD
        self._started: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._app_task: asyncio.Task[None] | None = None
        self._upload_task: asyncio.Task[None] | None = None

        self._messages: deque[Message] = deque()  # of the request's body, for the app
        self._body_wanted = asyncio.Event()  # the app waits in `receive`
        self._receivable = asyncio.Event()
        self._chunks: deque[bytes] = deque()  # of the response, for the reader
        self._writable = asyncio.Event()
        self._readable = asyncio.Event()

        self._begun = False  # the response
        self._complete = False
        self._disconnected = False  # the client
        self._app_ended = False
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
        self._app_ended = True
        self._readable.set()

    async def _run_upload(self) -> None:
        """Read the request's body when the app asks for it, all of it in one task."""
        chunks = self._upload.__aiter__()
        try:
            more = True
            while more:
                await self._body_wanted.wait()
                self._body_wanted.clear()
                try:
                    chunk = await anext(chunks)
                except StopAsyncIteration:
                    more, chunk = False, b""
                message = {"type": "http.request", "body": chunk, "more_body": more}
                self._messages.append(message)
                self._receivable.set()
        except BaseException as error:
            if self._disconnected:
                return
            if not isinstance(error, Exception):
                error = httpx.WriteError(f"the request's body ended by {error!r}")
            self.upload_error = error
            if not self._started.done():
                self._started.set_exception(error)
            self._disconnect()
        finally:
            if (close := getattr(chunks, "aclose", None)) is not None:
                await close()

    async def _receive(self) -> Message:
        while not (self._disconnected or self._complete):
            if self._messages:
                return self._messages.popleft()
            if self._upload_task is None:
                self._upload_task = asyncio.create_task(self._run_upload())
            self._body_wanted.set()
            self._receivable.clear()
            await self._receivable.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._disconnected:  # a server ignores it silently
            return await asyncio.sleep(0)
        kind = message["type"]
        if kind == "http.response.start" and not self._begun:
            self._begun = True
            if not self._started.done():  # the client may have been cancelled just now
                self._started.set_result(message)
        elif kind == "http.response.body" and self._begun and not self._complete:
            if (body := message.get("body", b"")) and not self._bodiless:
                await self._write(bytes(body))
            if not message.get("more_body", False):
                self._complete = True
                self._receivable.set()
        else:
            state = "complete" if self._complete else "begun" if self._begun else "not begun"
            raise RuntimeError(f"unexpected ASGI message {kind!r}: the response is {state}")

    async def _write(self, chunk: bytes) -> None:
        while len(self._chunks) >= self._buffered and not self._disconnected:
            self._writable.clear()
            await self._writable.wait()
        self._chunks.append(chunk)
        self._readable.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.upload_error is None and (self._chunks or not self._app_ended):
            if self._chunks:
                chunk = self._chunks.popleft()
                self._writable.set()
                yield chunk
            else:
                self._readable.clear()
                await self._readable.wait()
        if self.upload_error is not None:
            raise self.upload_error
        if self._error is not None:
            raise httpx.RemoteProtocolError("the response broke off") from self._error

    def _disconnect(self) -> None:
        self._disconnected = True
        for event in (self._receivable, self._writable, self._readable):
            event.set()

    async def aclose(self) -> None:
        if not self._disconnected and self._upload_task is not None:
            self._upload_task.cancel()
        self._disconnect()
        if tasks := {task for task in (self._app_task, self._upload_task) if task is not None}:
            async with asyncio.timeout(self._close_timeout):
                await asyncio.wait(tasks)
