"""The client for code without an event loop."""

import contextlib
import socket
import threading
from collections.abc import Generator, Iterator
from typing import Any, Self, TypeVar, Unpack, overload

import httpx

from dual_mode_streaming.client._base import BaseClient, BaseEventStream, with_read_timeout
from dual_mode_streaming.client._batch import BatchRequest
from dual_mode_streaming.client._events import Event
from dual_mode_streaming.client._options import RequestOptions, StreamOptions, cancelling
from dual_mode_streaming.client._redirects import send
from dual_mode_streaming.client._requests import ResponseHead
from dual_mode_streaming.client._session import Session
from dual_mode_streaming.client._steps import IOStep, Receive, Send, Steps, Wait

T = TypeVar("T")


class DualModeClient(BaseClient[httpx.Client]):
    """Reads dual-mode endpoints, as a batch or as a stream, and the events of any other server.

        with DualModeClient("http://127.0.0.1:8000") as client:
            document = client.get("/data?count=3")
            for event in client.stream("/data?count=3", model=Item):
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

    Threads may share a client. A stream is read by one thread.
    """

    _http_type = httpx.Client

    @overload
    def request(
        self, method: str, url: str, model: type[T], **options: Unpack[RequestOptions]
    ) -> T: ...
    @overload
    def request(
        self, method: str, url: str, model: Any = None, **options: Unpack[RequestOptions]
    ) -> Any: ...
    def request(
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
        return _fetch(self._http, self._defaults.batch(method, url, model, options))

    @overload
    def get(self, url: str, model: type[T], **options: Unpack[RequestOptions]) -> T: ...
    @overload
    def get(self, url: str, model: Any = None, **options: Unpack[RequestOptions]) -> Any: ...
    def get(self, url: str, model: Any = None, **options: Unpack[RequestOptions]) -> Any:
        """Return the batch document of a GET; see `request`."""
        return self.request("GET", url, model, **options)

    @overload
    def post(self, url: str, model: type[T], **options: Unpack[RequestOptions]) -> T: ...
    @overload
    def post(self, url: str, model: Any = None, **options: Unpack[RequestOptions]) -> Any: ...
    def post(self, url: str, model: Any = None, **options: Unpack[RequestOptions]) -> Any:
        """Return the batch document of a POST; see `request`.

        A POST is sent again only if the server did not act on it: no connection was made, or the
        answer was 429 or 503 with a Retry-After; or if there is an `Idempotency-Key`.
        """
        return self.request("POST", url, model, **options)

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
        """Return the events of a stream, with data read as the model; without one it is text.

        Nothing is sent before the iteration begins. `EventStream` lists what it raises.
        """
        session, read_timeout = self._defaults.session(url, model, options)
        return EventStream(self._http, session, read_timeout)

    def close(self) -> None:
        """Close the httpx client, unless it is the caller's, and with it the open streams."""
        if self._owned:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class EventStream(BaseEventStream[T]):
    __doc__ = BaseEventStream.__doc__

    def __init__(self, http: httpx.Client, session: Session[T], read_timeout: float | None) -> None:
        super().__init__(session)
        self._http = http
        self._driver = _SyncDriver(http, with_read_timeout(http.timeout, read_timeout))

    def __iter__(self) -> Generator[Event[T], None, None]:
        self._begin()
        return self._driver.run(self._session.steps())

    def cancel(self) -> Any:
        """Cancel the stream at the server if it is recorded, else close the connection.

        A recorded stream is read on, and ends with `cancelled`, or as it had ended before. Until
        the response has begun the client does not know whether the stream is recorded. May be
        called inside the loop and from other threads.

        Returns:
            The state that the server reports (JSON); None if the connection was closed.

        Raises:
            AnswerError: as `DualModeClient.request`.
        """
        call = self._session.cancel_call()
        if call is None:
            self.close()
            return None
        return _fetch(self._http, cancelling(call))

    def close(self) -> None:
        """Close the connection. The iteration ends, also if another thread is reading.

        A thread that waits for a response to begin notices it only when the response does.
        """
        self._session.close()
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _SyncDriver:
    """Performs the I/O of one protocol."""

    def __init__(self, http: httpx.Client, timeout: httpx.Timeout) -> None:
        self._http = http
        self._timeout = timeout
        self._closed = threading.Event()
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes]

    def run(self, steps: Steps[T]) -> Generator[T, None, None]:
        """Yield the values of the protocol; close the connection at the end."""
        try:
            with contextlib.suppress(StopIteration):
                step = next(steps)
                while True:
                    if not isinstance(step, IOStep):
                        yield step
                        step = next(steps)
                        continue
                    try:
                        reply = self._perform(step)
                    except Exception as error:
                        step = steps.throw(error)
                    else:
                        step = steps.send(reply)
        finally:
            steps.close()
            self.close()

    def _perform(self, step: IOStep) -> Any:
        if isinstance(step, Receive):
            assert self._response is not None
            return self._response.read() if step.whole else next(self._chunks, b"")
        if self._response is not None:
            self._response.close()
        if isinstance(step, Wait):
            self._closed.wait(step.seconds)
        elif isinstance(step, Send):
            request = self._http.build_request(**step.call.arguments(), timeout=self._timeout)
            self._response = response = send(self._http, request)
            self._chunks = response.iter_bytes()
            return ResponseHead.of(response)
        return None

    def close(self) -> None:
        self._closed.set()
        response = self._response
        if response is None or response.is_closed:
            return
        _wake(response)
        with contextlib.suppress(Exception):  # errors of the connection that was just shut down
            response.close()


def _fetch(http: httpx.Client, batch: BatchRequest) -> Any:
    for _ in _SyncDriver(http, http.timeout).run(batch.steps()):
        pass  # a batch has no values before its result
    return batch.result


def _wake(response: httpx.Response) -> None:
    """Shut the socket down; closing it would not wake a thread that waits to read from it."""
    network = response.extensions.get("network_stream")
    if network is None or response.http_version == "HTTP/2":  # others use that connection, too
        return
    sock = network.get_extra_info("socket")
    if isinstance(sock, socket.socket):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
