"""An httpx transport that calls an ASGI app in this process and really streams.

`httpx.ASGITransport` and Starlette's TestClient collect the whole body first, so that an endless
stream hangs the test. Here the app runs beside the test and its chunks arrive as they are sent.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx

__all__ = ["StreamingTransport"]

Message = dict[str, Any]


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
    test can look at what was cleaned up; TimeoutError if it does not end in `close_timeout`.
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
        self._app = app
        self._buffered_chunks = buffered_chunks
        self._close_timeout = close_timeout
        self._raise_app_exceptions = raise_app_exceptions
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Start the app on the request, and return when it has begun its response."""
        assert isinstance(request.stream, httpx.AsyncByteStream)
        exchange = _Exchange(request.stream, self._buffered_chunks, self._close_timeout)
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
            "server": (url.host, url.port),
            "client": self._client,
            "extensions": {},
        }
        try:
            start = await exchange.begin(self._app, scope)
        except BaseException as error:
            await exchange.aclose()
            if isinstance(error, Exception) and not self._raise_app_exceptions:
                return httpx.Response(500)
            raise
        return httpx.Response(start["status"], headers=start.get("headers", []), stream=exchange)


class _Exchange(httpx.AsyncByteStream):
    """One request, and the body of its response as a stream."""

    def __init__(self, body: httpx.AsyncByteStream, buffered: int, close_timeout: float) -> None:
        self._body = body.__aiter__()
        self._body_read = False
        self._close_timeout = close_timeout
        self._started: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue(buffered)
        self._gone = asyncio.Event()
        self._complete = False
        self._error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None

    async def begin(self, app: Any, scope: dict[str, Any]) -> Message:
        self._task = asyncio.create_task(self._run(app, scope))
        return await self._started

    async def _run(self, app: Any, scope: dict[str, Any]) -> None:
        try:
            await app(scope, self._receive, self._send)
            error: BaseException = httpx.RemoteProtocolError("the app ended its response too early")
        except BaseException as raised:
            error = raised
        if not self._started.done():
            self._started.set_exception(error)
            return
        self._error = None if self._complete else error
        await self._put(None)  # the end

    async def _receive(self) -> Message:
        if not self._body_read:
            try:
                chunk = await anext(self._body)
                return {"type": "http.request", "body": chunk, "more_body": True}
            except StopAsyncIteration:
                self._body_read = True
                return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started.set_result(message)
            return
        if body := message.get("body", b""):
            await self._put(bytes(body))
        if not message.get("more_body", False):
            self._complete = True

    async def _put(self, chunk: bytes | None) -> None:
        """Hand a chunk over, unless the reader has gone: servers drop it silently then."""
        put = asyncio.ensure_future(self._chunks.put(chunk))
        gone = asyncio.ensure_future(self._gone.wait())
        try:
            await asyncio.wait({put, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            put.cancel()
            gone.cancel()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await self._chunks.get()) is not None:
            yield chunk
        if self._error is not None:
            raise httpx.RemoteProtocolError("the response broke off") from self._error

    async def aclose(self) -> None:
        self._gone.set()
        if self._task is not None:
            async with asyncio.timeout(self._close_timeout):
                await asyncio.wait({self._task})
