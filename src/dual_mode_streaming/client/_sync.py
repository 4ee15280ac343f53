"""The client for code without an event loop: it only connects, reads, waits and closes."""

import contextlib
import socket
import threading
import time
from collections.abc import Generator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload

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

__all__ = ["DualModeClient", "EventStream", "fetch"]

T = TypeVar("T")


class DualModeClient:
    """Reads what a dual-mode endpoint answers, and any other server's events.

        with DualModeClient("http://127.0.0.1:8000") as client:
            document = client.get("/data?count=3")
            for event in client.stream("/data?count=3", model=Item):
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

    Threads may share it; a stream is read by one of them.
    """

    def __init__(
        self,
        base_url: str = "",
        *,
        http_client: httpx.Client | None = None,
        headers: Mapping[str, str] | None = None,
        dialect: Dialect = DUAL_MODE,
        reconnect: Reconnect = Reconnect(),  # noqa: B008  (it is frozen)
        read_timeout: float | None = READ_TIMEOUT,
    ) -> None:
        if http_client is not None and (base_url or headers):
            raise ValueError("base_url and headers are those of the http_client that is given")
        self._owned = http_client is None
        self._http = http_client or httpx.Client(**own_client(base_url, headers))
        self._defaults = Defaults(dialect, reconnect, read_timeout)

    @overload
    def get(self, url: str, model: type[T], **options: Unpack[RequestOptions]) -> T: ...
    @overload
    def get(self, url: str, model: Any = None, **options: Unpack[RequestOptions]) -> Any: ...
    def get(self, url: str, model: Any = None, **options: Unpack[RequestOptions]) -> Any:
        """The batch document: its JSON, read as the model if one is given (any pydantic type).

        None for an answer without content. Raises RequestRefused, UnexpectedContent,
        UnreadableAnswer and ConnectionFailed; httpx's errors for a URL that is none.
        """
        return fetch(self._http, self._defaults.batch("GET", url, model, options))

    @overload
    def post(self, url: str, model: type[T], **options: Unpack[RequestOptions]) -> T: ...
    @overload
    def post(self, url: str, model: Any = None, **options: Unpack[RequestOptions]) -> Any: ...
    def post(self, url: str, model: Any = None, **options: Unpack[RequestOptions]) -> Any:
        """The same by POST, which is sent again only if it never arrived, or was put off.

        That is: no connection was made, the answer was 429 or 503 with a Retry-After, or there is
        an `Idempotency-Key` among the headers.
        """
        return fetch(self._http, self._defaults.batch("POST", url, model, options))

    @overload
    def stream(
        self, url: str, model: type[T], **options: Unpack[StreamOptions]
    ) -> "EventStream[T]": ...
    @overload
    def stream(
        self, url: str, model: None = None, **options: Unpack[StreamOptions]
    ) -> "EventStream[str]": ...
    @overload
    def stream(
        self, url: str, model: Any, **options: Unpack[StreamOptions]
    ) -> "EventStream[Any]": ...
    def stream(
        self, url: str, model: Any = None, **options: Unpack[StreamOptions]
    ) -> "EventStream[Any]":
        """The events of a stream, each one's data read as the model; without one, it is text.

        Nothing is sent before the iteration begins. See `Reading` for what it raises.
        """
        session, read_timeout = self._defaults.session(url, model, options)
        return EventStream(self._http, session, read_timeout)

    def close(self) -> None:
        """Close the httpx client, if it is our own, and with it the streams that are open."""
        if self._owned:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class EventStream(Reading[T]):
    __doc__ = Reading.__doc__

    def __init__(self, http: httpx.Client, session: Session[T], read_timeout: float | None) -> None:
        super().__init__(session, http.timeout, read_timeout)
        self._http = http
        self._closed = threading.Event()
        self._response: httpx.Response | None = None

    def __iter__(self) -> Generator[Event[T], None, None]:
        self._begin()
        return self._events()

    def _events(self) -> Generator[Event[T], None, None]:
        session = self._session
        try:
            while self._pause():
                try:
                    response = self._connect()
                except httpx.HTTPError as error:
                    self._cut(error)
                    continue
                if response is None:
                    continue
                chunks = response.iter_bytes()
                while not session.ended:
                    try:
                        chunk = next(chunks, None)
                    except Exception as error:
                        self._cut(error)
                        break
                    if chunk is None:
                        self._cut()
                        break
                    for event in session.feed(chunk):
                        yield event
                        if self._closed.is_set():
                            return
                response.close()
        finally:
            self.close()

    def _pause(self) -> bool:
        """Wait as long as is due; whether there is another connection to make."""
        return not self._session.ended and not self._closed.wait(self._session.delay)

    def _connect(self) -> httpx.Response | None:
        """Send the request; the response is None if there is no stream, or not yet."""
        session = self._session
        arguments = session.next_call().arguments()
        request = self._http.build_request(**arguments, timeout=self._timeout)
        response = self._response = self._http.send(request, stream=True)
        if session.on_head(Head.of(response)):
            return response
        try:
            if not session.ended:
                session.on_refused(_beginning(response))
        finally:
            response.close()
        return None

    def cancel(self) -> Any:
        """Stop the stream: at the server, if it is recorded there, else by closing the connection.

        A recorded stream goes on to be read, and ends with `cancelled`, or with what it had ended
        before. (Until the head of its answer has come, nobody knows that it is recorded.) Gives
        what the server says of its state (JSON), None if there was only a connection to close. May
        be called from inside the loop, and from other threads. Raises as
        `DualModeClient.post` does.
        """
        call = self._session.cancel_call()
        if call is None:
            self.close()
            return None
        return fetch(self._http, cancelling(call))

    def close(self) -> None:
        """Close the connection; the iteration ends, also if another thread is reading.

        A thread that is still connecting sees it when the answer's head has come.
        """
        self._session.close()
        self._closed.set()
        response = self._response
        if response is None or response.is_closed:
            return
        _wake(response)
        with contextlib.suppress(Exception):  # what a connection says that we have just cut
            response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def fetch(http: httpx.Client, batch: Batch) -> Any:
    """The result of a batch, as often as it has to be asked for."""
    while not batch.done:
        if batch.delay:
            time.sleep(batch.delay)
        try:
            response = http.request(**batch.call.arguments())
        except httpx.HTTPError as error:
            if not is_cut(error):
                raise
            batch.on_cut(error, sent=was_sent(error))
        else:
            batch.on_answer(Head.of(response), response.content)
    return batch.result


def _beginning(response: httpx.Response) -> bytes:
    body = b""
    with contextlib.suppress(httpx.HTTPError):
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) >= EXCERPT:
                break
    return body[:EXCERPT]


def _wake(response: httpx.Response) -> None:
    """Shut the socket down: closing it would not wake a thread that waits to read from it."""
    network = response.extensions.get("network_stream")
    if network is None or response.http_version == "HTTP/2":  # others use that connection, too
        return
    sock = network.get_extra_info("socket")
    if isinstance(sock, socket.socket):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
