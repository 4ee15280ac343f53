"""The client for the event loop: it only connects, reads, waits and closes."""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload

import anyio
import httpx

from dual_mode_streaming.client._batch import Batch
from dual_mode_streaming.client._calls import EXCERPT, Head, is_cut, was_sent
from dual_mode_streaming.client._events import Event
from dual_mode_streaming.client._options import (
    READ_TIMEOUT,
    Defaults,
    RequestOptions,
    StreamOptions,
    cancelling,
    own_client,
)
from dual_mode_streaming.client._policy import DUAL_MODE, Dialect, Reconnect
from dual_mode_streaming.client._reading import Reading
from dual_mode_streaming.client._session import Session

__all__ = ["AsyncDualModeClient", "AsyncEventStream", "fetch"]

T = TypeVar("T")
R = TypeVar("R")


class AsyncDualModeClient:
    """Reads what a dual-mode endpoint answers, and any other server's events.

        async with AsyncDualModeClient("http://127.0.0.1:8000") as client:
            document = await client.get("/data?count=3")
            async with client.stream("/data?count=3", model=Item) as events:
                async for event in events:
                    print(event.data)

    Args:
        base_url: what relative URLs begin with.
        http_client: an httpx client to use, with its base URL, headers, authentication and
            timeouts (but that of reading a stream). Whoever made it closes it. Not together with
            `base_url` or `headers`.
        headers: sent with every request.
        dialect: for all streams that do not say otherwise, as are the next two.
        reconnect: how to come again.
        read_timeout: the silence, in seconds, that is a cut; see `StreamOptions`.
    """

    def __init__(
        self,
        base_url: str = "",
        *,
        http_client: httpx.AsyncClient | None = None,
        headers: Mapping[str, str] | None = None,
        dialect: Dialect = DUAL_MODE,
        reconnect: Reconnect = Reconnect(),  # noqa: B008  (it is frozen)
        read_timeout: float | None = READ_TIMEOUT,
    ) -> None:
        if http_client is not None and (base_url or headers):
            raise ValueError("base_url and headers are those of the http_client that is given")
        self._owned = http_client is None
        self._http = http_client or httpx.AsyncClient(**own_client(base_url, headers))
        self._defaults = Defaults(dialect, reconnect, read_timeout)

    @overload
    async def get(self, url: str, model: type[T], **options: Unpack[RequestOptions]) -> T: ...
    @overload
    async def get(self, url: str, model: Any = None, **options: Unpack[RequestOptions]) -> Any: ...
    async def get(self, url: str, model: Any = None, **options: Unpack[RequestOptions]) -> Any:
        """The batch document: its JSON, read as the model if one is given (any pydantic type).

        None for an answer without content. Raises RequestRefused, UnexpectedContent,
        UnreadableAnswer and ConnectionFailed; httpx's errors for a URL that is none.
        """
        return await fetch(self._http, self._defaults.batch("GET", url, model, options))

    @overload
    async def post(self, url: str, model: type[T], **options: Unpack[RequestOptions]) -> T: ...
    @overload
    async def post(self, url: str, model: Any = None, **options: Unpack[RequestOptions]) -> Any: ...
    async def post(self, url: str, model: Any = None, **options: Unpack[RequestOptions]) -> Any:
        """The same by POST, which is sent again only if it never arrived, or was put off.

        That is: no connection was made, the answer was 429 or 503 with a Retry-After, or there is
        an `Idempotency-Key` among the headers.
        """
        return await fetch(self._http, self._defaults.batch("POST", url, model, options))

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
        """The events of a stream, each one's data read as the model; without one, it is text.

        Nothing is sent before the iteration begins. See `Reading` for what it raises.
        """
        session, read_timeout = self._defaults.session(url, model, options)
        return AsyncEventStream(self._http, session, read_timeout)

    async def aclose(self) -> None:
        """Close the httpx client, if it is our own, and with it the streams that are open."""
        if self._owned:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class AsyncEventStream(Reading[T]):
    __doc__ = Reading.__doc__

    def __init__(
        self, http: httpx.AsyncClient, session: Session[T], read_timeout: float | None
    ) -> None:
        super().__init__(session, http.timeout, read_timeout)
        self._http = http
        self._waiting: anyio.CancelScope | None = None
        self._response: httpx.Response | None = None

    def __aiter__(self) -> AsyncGenerator[Event[T], None]:
        self._begin()
        return self._events()

    async def _events(self) -> AsyncGenerator[Event[T], None]:
        session = self._session
        try:
            while await self._pause():
                try:
                    response = await self._interruptible(self._connect())
                except httpx.HTTPError as error:
                    self._cut(error)
                    continue
                if response is None:
                    continue
                chunks = response.aiter_bytes()
                while not session.ended:
                    try:
                        chunk = await self._interruptible(anext(chunks, None))
                    except Exception as error:
                        self._cut(error)
                        break
                    if chunk is None:
                        self._cut()
                        break
                    for event in session.feed(chunk):
                        yield event
                        if session.outcome == "closed":
                            return
                await response.aclose()
        finally:
            await self.aclose()

    async def _pause(self) -> bool:
        """Wait as long as is due; whether there is another connection to make."""
        if self._session.delay and not self._session.ended:
            await self._interruptible(anyio.sleep(self._session.delay))
        return not self._session.ended

    async def _interruptible(self, waiting: Awaitable[R]) -> R | None:
        """What is waited for; None if `aclose` was called meanwhile."""
        with anyio.CancelScope() as self._waiting:
            return await waiting
        return None

    async def _connect(self) -> httpx.Response | None:
        """Send the request; the response is None if there is no stream, or not yet."""
        session = self._session
        arguments = session.next_call().arguments()
        request = self._http.build_request(**arguments, timeout=self._timeout)
        response = self._response = await self._http.send(request, stream=True)
        if session.on_head(Head.of(response)):
            return response
        try:
            if not session.ended:
                session.on_refused(await _beginning(response))
        finally:
            await response.aclose()
        return None

    async def cancel(self) -> Any:
        """Stop the stream: at the server, if it is recorded there, else by closing the connection.

        A recorded stream goes on to be read, and ends with `cancelled`, or with what it had ended
        before. (Until the head of its answer has come, nobody knows that it is recorded.) Gives
        what the server says of its state (JSON), None if there was only a connection to close. May
        be called from inside the loop, and from other tasks. Raises as
        `AsyncDualModeClient.post` does.
        """
        call = self._session.cancel_call()
        if call is None:
            await self.aclose()
            return None
        return await fetch(self._http, cancelling(call))

    async def aclose(self) -> None:
        """Close the connection; the iteration ends, also if another task is waiting in it."""
        self._session.close()
        if self._waiting is not None:
            self._waiting.cancel()
        response = self._response
        if response is None or response.is_closed:
            return
        with contextlib.suppress(Exception):  # what a connection says that we have just cut
            await response.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


async def fetch(http: httpx.AsyncClient, batch: Batch) -> Any:
    """The result of a batch, as often as it has to be asked for."""
    while not batch.done:
        if batch.delay:
            await anyio.sleep(batch.delay)
        try:
            response = await http.request(**batch.call.arguments())
        except httpx.HTTPError as error:
            if not is_cut(error):
                raise
            batch.on_cut(error, sent=was_sent(error))
        else:
            batch.on_answer(Head.of(response), response.content)
    return batch.result


async def _beginning(response: httpx.Response) -> bytes:
    body = b""
    with contextlib.suppress(httpx.HTTPError):
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) >= EXCERPT:
                break
    return body[:EXCERPT]
