"""The load of `dual-mode bench`: each connection sends the next request when it has its answer."""

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Final

import httpx

from dual_mode_streaming.commands._load_connection import LoadConnection
from dual_mode_streaming.commands._request_options import HTTPRequest
from dual_mode_streaming.commands._statistics import LoadStatistics
from dual_mode_streaming.errors import EventTooLarge
from dual_mode_streaming.sse import END_STATES, EventDecoder

_ACCEPT: Final = {
    "stream": "text/event-stream",
    "lines": "application/x-ndjson",
    "batch": "application/json",
}


async def run_load(
    request: HTTPRequest,
    mode: str,
    statistics: LoadStatistics,
    *,
    connections: int,
    seconds: float,
    requests: int | None,
    timeout: float,
    end_event: bool = True,
) -> None:
    """Send requests, and measure the answers into `statistics`.

    Args:
        request: the request; it is sent directly, without a proxy, and redirects are errors.
        mode: "stream", "lines" or "batch".
        statistics: what is measured, updated while it runs.
        connections: the number of connections.
        seconds: the duration, in seconds.
        requests: the maximum number of requests; None for no maximum.
        timeout: seconds of silence after which an answer is an error.
        end_event: whether a stream that is closed without an end event is an error.
    """
    target = _Target(request, mode)
    left = requests

    def make() -> _MeasuredConnection:
        return _MeasuredConnection(target, statistics, timeout, end_event)

    async def worker() -> None:
        nonlocal left
        connection: _MeasuredConnection | None = None
        failures = 0
        try:
            while left is None or left > 0:
                left = None if left is None else left - 1
                start = time.perf_counter()
                try:
                    if connection is None or connection.is_closed:
                        connection = None
                        async with asyncio.timeout(min(10, timeout)):
                            connection = await target.connect(make)
                    await connection.answer(start)
                    failures = 0
                except asyncio.CancelledError:
                    statistics.unfinished += 1
                    raise
                except (_LoadError, OSError) as error:
                    statistics.errors[_kind(error, connection)] += 1
                    if connection is not None:
                        connection.transport.abort()
                    connection, failures = None, failures + 1
                    # Do not send a thousand requests a second to a server that refuses at once.
                    await asyncio.sleep(min(1.0, 0.01 * 2 ** min(failures, 10)))
        finally:
            if connection is not None:
                connection.transport.abort()

    start = time.monotonic()
    workers = [asyncio.create_task(worker()) for _ in range(connections)]
    try:
        await asyncio.wait(workers, timeout=seconds)
    finally:
        statistics.seconds = time.monotonic() - start
        for task in workers:
            task.cancel()
        results = await asyncio.gather(*workers, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


class _LoadError(Exception):
    """An answer that is an error; the text is its kind."""


def _kind(error: Exception, connection: "_MeasuredConnection | None") -> str:
    if isinstance(error, _LoadError):
        return str(error)
    if isinstance(error, TimeoutError):
        return "timeout"
    why = "the answer broke off" if connection and connection.status else "no connection"
    return f"{why}: {str(error) or type(error).__name__}"[:80]


class _Target:
    """Where the requests go, and their bytes."""

    def __init__(self, request: HTTPRequest, mode: str) -> None:
        headers = {"Accept": _ACCEPT[mode]} | request.headers
        sent = httpx.Request(request.method, request.url, headers=headers, content=request.content)
        url = sent.url
        if url.userinfo:
            next(httpx.BasicAuth(url.username, url.password).auth_flow(sent))
        lines = [b"%s: %s\r\n" % header for header in sent.headers.raw]
        head = b"%s %s HTTP/1.1\r\n" % (request.method.encode(), url.raw_path)
        self.request = b"".join((head, *lines, b"\r\n", request.content or b""))
        self.has_body = request.method != "HEAD"
        self.mode = mode
        self.host = url.host
        self.port = url.port or (443 if url.scheme == "https" else 80)
        self.tls = ssl.create_default_context() if url.scheme == "https" else None

    async def connect(self, make: "Callable[[], _MeasuredConnection]") -> "_MeasuredConnection":
        """Return a new connection; raise OSError if there is none."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(make, self.host, self.port, ssl=self.tls)
        return connection


class _MeasuredConnection(LoadConnection):
    """A connection that measures its answers."""

    def __init__(
        self, target: _Target, statistics: LoadStatistics, timeout: float, end_event: bool
    ) -> None:
        super().__init__()
        self._target = target
        self._mode = target.mode
        self._statistics = statistics
        self._timeout = timeout
        self._end_event = end_event

    async def answer(self, start: float) -> None:
        """Send the request, and return at the end of its answer, which counts from `start`."""
        self._last = start
        self._heard = time.perf_counter()
        self._count = 0
        self._decoder = EventDecoder()
        self._ended = not self._end_event or self._mode != "stream"
        done = self.send(self._target.request, has_body=self._target.has_body)
        while not done.done():
            silence = time.perf_counter() - self._heard
            if silence >= self._timeout:
                raise TimeoutError
            await asyncio.wait({done}, timeout=self._timeout - silence)
        done.result()
        if not self._ended and self.status != 204:
            raise _LoadError("the answer broke off: no end event")
        self._statistics.total.add(time.perf_counter() - start)

    def data_received(self, data: bytes) -> None:
        self._heard = time.perf_counter()
        super().data_received(data)

    def head_received(self) -> None:
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not 200 <= self.status < 300:
            target = self.headers.get("location", "")
            redirect = f": redirected to {target}" if self.status < 400 and target else ""
            self.fail(_LoadError(f"status {self.status}{redirect}"))
        elif self.status != 204 and self._mode == "stream" and kind != _ACCEPT["stream"]:
            self.fail(_LoadError(f"the answer is {kind or 'of no type'}"))

    def body_received(self, data: bytes) -> None:
        self._statistics.bytes += len(data)
        if self._mode == "stream":
            try:
                self._read_events(data)
            except EventTooLarge:
                self.fail(_LoadError("an event that is too large"))
        elif self._mode == "lines":
            for _ in range(data.count(b"\n")):
                self._count_event()

    def _read_events(self, data: bytes) -> None:
        for event in self._decoder.feed(data):
            if not self._end_event or event.event not in END_STATES:
                self._count_event()
            elif event.event == "done":
                self._ended = True
            else:
                return self.fail(_LoadError(f"event: {event.event}"))

    def _count_event(self) -> None:
        now = time.perf_counter()
        statistics = self._statistics
        (statistics.between if self._count else statistics.first).add(now - self._last)
        self._last = now
        self._count += 1
        statistics.events += 1
