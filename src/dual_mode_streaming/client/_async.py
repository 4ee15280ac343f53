"""The client for the event loop."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Self, TypeVar, Unpack, overload

import anyio
import httpx

from dual_mode_streaming.client._base import BaseClient, BaseEventStream, with_read_timeout
from dual_mode_streaming.client._batch import BatchRequest
from dual_mode_streaming.client._events import Event
from dual_mode_streaming.client._options import RequestOptions, StreamOptions, cancelling
from dual_mode_streaming.client._redirects import asend
from dual_mode_streaming.client._requests import ResponseHead
from dual_mode_streaming.client._session import Session
from dual_mode_streaming.client._steps import IOStep, Receive, Send, Steps, Wait

T = TypeVar("T")


class AsyncDualModeClient(BaseClient[httpx.AsyncClient]):
    """Reads dual-mode endpoints, as a batch or as a stream, and the events of any other server.

        async with AsyncDualModeClient("http://127.0.0.1:8000") as client:
            document = await client.get("/data?count=3")
            async with client.stream("/data?count=3", model=Item) as events:
                async for event in events:
                    print(event.data)

    Args:
        base_url: the beginning of relative URLs.
        http_client: an httpx client of the caller, with its base URL, headers, authentication and
            timeouts (except that for reading a stream). The caller closes it. It cannot be
            combined with `base_url` or `headers`.
        headers: headers of every request.
        dialect: how the server ends a stream; a stream may have its own, as for the next two.
        reconnect: how often to try again.
        read_timeout: seconds of silence that count as a cut; see `StreamOptions`.
    """

    _http_type = httpx.AsyncClient

    @overload
    async def request(
        self, method: str, url: str, model: type[T], **options: Unpack[RequestOptions]
    ) -> T: ...
    @overload
    async def request(
        self, method: str, url: str, model: Any = None, **options: Unpack[RequestOptions]
    ) -> Any: ...
    async def request(
        self, method: str, url: str, model: Any = None, **options: Unpack[RequestOptions]
    ) -> Any:
        """Return the batch document: its JSON, read as the model (any type that pydantic knows).

        Returns:
            The document; None for a response without content.

        Raises:
            RequestRefused: if the status is an error.
            UnexpectedContent: if the response is not JSON.
            UnreadableAnswer: if the document does not fit the model.
            ConnectionFailed: if no response came.
            httpx.HTTPError: if the request cannot be sent at all.
        """
        return await _fetch(self._http, self._defaults.batch(method, url, model, options))

    @overload
    async def get(self, url: str, model: type[T], **options: Unpack[RequestOptions]) -> T: ...
    @overload
    async def get(self, url: str, model: Any = None, **options: Unpack[RequestOptions]) -> Any: ...
    async def get(self, url: str, model: Any = None, **options: Unpack[RequestOptions]) -> Any:
        """Return the batch document of a GET; see `request`."""
        return await self.request("GET", url, model, **options)

    @overload
    async def post(self, url: str, model: type[T], **options: Unpack[RequestOptions]) -> T: ...
    @overload
    async def post(self, url: str, model: Any = None, **options: Unpack[RequestOptions]) -> Any: ...
    async def post(self, url: str, model: Any = None, **options: Unpack[RequestOptions]) -> Any:
        """Return the batch document of a POST; see `request`.

        A POST is sent again only if the server did not act on it: no connection was made, or the
        answer was 429 or 503 with a Retry-After; or if there is an `Idempotency-Key`.
        """
        return await self.request("POST", url, model, **options)

    @overload
    def stream(
        self, url: str, model: type[T], **options: Unpack[StreamOptions]
    ) -> "AsyncEventStream[T]": ...
    @overload
    def stream(
        self, url: str, model: None = None, **options: Unpack[StreamOptions]
    ) -> "AsyncEventStream[str]": ...
    @overload
    def stream(
        self, url: str, model: Any, **options: Unpack[StreamOptions]
    ) -> "AsyncEventStream[Any]": ...
    def stream(
        self, url: str, model: Any = None, **options: Unpack[StreamOptions]
    ) -> "AsyncEventStream[Any]":
        """Return the events of a stream, with data read as the model; without one it is text.

        Nothing is sent before the iteration begins. `AsyncEventStream` lists what it raises.
        """
        session, read_timeout = self._defaults.session(url, model, options)
        return AsyncEventStream(self._http, session, read_timeout)

    async def aclose(self) -> None:
        """Close the httpx client, unless it is the caller's, and with it the open streams."""
        if self._owned:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class AsyncEventStream(BaseEventStream[T]):
    __doc__ = BaseEventStream.__doc__

    def __init__(
        self, http: httpx.AsyncClient, session: Session[T], read_timeout: float | None
    ) -> None:
        super().__init__(session)
        self._http = http
        self._driver = _AsyncDriver(http, with_read_timeout(http.timeout, read_timeout))

    def __aiter__(self) -> AsyncGenerator[Event[T], None]:
        self._begin()
        return self._driver.run(self._session.steps())

    async def cancel(self) -> Any:
        """Cancel the stream at the server if it is recorded, else close the connection.

        A recorded stream is read on, and ends with `cancelled`, or as it had ended before. Until
        the response has begun the client does not know whether the stream is recorded. May be
        called inside the loop and from other tasks.

        Returns:
            The state that the server reports (JSON); None if the connection was closed.

        Raises:
            AnswerError: as `AsyncDualModeClient.request`.
        """
        call = self._session.cancel_call()
        if call is None:
            await self.aclose()
            return None
        return await _fetch(self._http, cancelling(call))

    async def aclose(self) -> None:
        """Close the connection. The iteration ends, also if another task is waiting in it."""
        self._session.close()
        await self._driver.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class _AsyncDriver:
    """Performs the I/O of one protocol."""

    def __init__(self, http: httpx.AsyncClient, timeout: httpx.Timeout) -> None:
        self._http = http
        self._timeout = timeout
        self._waiting: anyio.CancelScope | None = None
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes]

    async def run(self, steps: Steps[T]) -> AsyncGenerator[T, None]:
        """Yield the values of the protocol; close the connection at the end."""
        try:
            with contextlib.suppress(StopIteration):
                step = next(steps)
                while True:
                    if not isinstance(step, IOStep):
                        yield step
                        step = next(steps)
                        continue
                    reply = None
                    try:
                        with anyio.CancelScope() as self._waiting:  # cancelled by `aclose`
                            reply = await self._perform(step)
                    except Exception as error:
                        step = steps.throw(error)
                    else:
                        step = steps.send(reply)
        finally:
            steps.close()
            await self.aclose()

    async def _perform(self, step: IOStep) -> Any:
        if isinstance(step, Receive):
            assert self._response is not None
            return await (self._response.aread() if step.whole else anext(self._chunks, b""))
        if self._response is not None:
            await self._response.aclose()
        if isinstance(step, Wait):
            await anyio.sleep(step.seconds)
        elif isinstance(step, Send):
            request = self._http.build_request(**step.call.arguments(), timeout=self._timeout)
            self._response = response = await asend(self._http, request)
            self._chunks = response.aiter_bytes()
            return ResponseHead.of(response)
        return None

    async def aclose(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        response = self._response
        if response is None or response.is_closed:
            return
        with contextlib.suppress(Exception):  # errors of the connection that was just cut
            await response.aclose()


async def _fetch(http: httpx.AsyncClient, batch: BatchRequest) -> Any:
    async for _ in _AsyncDriver(http, http.timeout).run(batch.steps()):
        pass  # a batch has no values before its result
    return batch.result
