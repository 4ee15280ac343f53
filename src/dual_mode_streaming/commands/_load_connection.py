"""An HTTP/1.1 connection that costs little CPU, for `dual-mode bench` and `benchmarks/`."""

import asyncio
from typing import cast


class LoadConnection(asyncio.Protocol):
    """A connection with one request on it at a time. Subclasses take what comes.

    Attributes:
        transport: the transport of the connection.
        status: the status of the response; 0 before its head has come.
        headers: the headers of the response, with names in lower case.
        length: the length of the response body; None if it is not known.
        is_closed: whether the connection can take no more requests.
    """

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.status = 0
        self.headers: dict[str, str] = {}
        self.length: int | None = None
        self.is_closed = False
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._has_body = True
        self._chunked = False
        self._finished = False
        self._left = 0  # bytes of the body, or of a chunk, that have not come yet
        self._kept = b""  # the beginning of a head or of a chunk's size line

    def head_received(self) -> None:
        """Called when the head of a response has come."""

    def body_received(self, data: bytes) -> None:
        """Called with each part of the body, without the framing of chunks."""

    def send(self, request: bytes, *, has_body: bool = True) -> asyncio.Future[None]:
        """Send a request, and return a future of the end of its response.

        Its exception is a ConnectionError if the connection breaks, or that given to `fail`.

        Args:
            request: the request, with its head and body.
            has_body: whether the response has a body; that to HEAD has none.
        """
        self._done = asyncio.get_running_loop().create_future()
        self._has_body = has_body
        self.status, self.headers, self.length = 0, {}, None
        self._chunked, self._finished, self._left, self._kept = False, False, 0, b""
        self.transport.write(request)
        return self._done

    def fail(self, error: Exception) -> None:
        """End the request with an exception, and the connection with it."""
        if not self._done.done():
            self._done.set_exception(error)
            self._done.exception()  # do not log it, if nobody waits for it
        self.is_closed = True
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_closed = True
        if self.status and self.length is None and not self._chunked and error is None:
            self._end()  # a body without a length ends with the connection
        self.fail(error or ConnectionResetError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        try:
            self._parse(data)
        except (ValueError, IndexError):
            self.fail(ConnectionError("the response is not valid HTTP/1.1"))

    def _parse(self, data: bytes) -> None:
        if self._kept:
            data, self._kept = self._kept + data, b""
        while not self.status:
            head, found, rest = data.partition(b"\r\n\r\n")
            if not found:
                self._kept = data
                return
            data = self._parse_head(head, rest)
        if self._done.done():
            return
        if self._chunked:
            data = self._without_framing(data)
        elif self.length is not None:
            self._left -= len(data)
            self._finished = self._left <= 0
        if data:
            self.body_received(data)
        if self._finished:
            self._end()

    def _parse_head(self, head: bytes, rest: bytes) -> bytes:
        """Take the head of a response, and return what follows it."""
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split(" ", 2)[1])
        if status < 200:  # an interim response (RFC 9110, section 15.2)
            return rest
        self.status = status
        pairs = (line.partition(":") for line in lines)
        self.headers = {name.lower(): value.strip() for name, _, value in pairs}
        self.is_closed = self.headers.get("connection", "").lower() == "close"
        self._finished = not self._has_body or status in (204, 304)
        self._chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        if not self._chunked and "content-length" in self.headers:
            self.length = self._left = int(self.headers["content-length"])
            self._finished = self._finished or self.length == 0
        self.head_received()
        return b"\r\n" + rest if self._chunked else rest  # every size line follows a line end

    def _without_framing(self, data: bytes) -> bytes:
        """Return the data of the chunks (RFC 9112, section 7.1)."""
        parts, at = [], 0
        while at < len(data):
            if self._left:
                part = data[at : at + self._left]
                parts.append(part)
                self._left -= len(part)
                at += len(part)
                continue
            end = data.find(b"\r\n", at + 2)
            size = 0 if end < 0 else int(data[at + 2 : end].partition(b";")[0], 16)
            if end < 0 or (not size and data.find(b"\r\n\r\n", end) < 0):
                self._kept = data[at:]
                break
            if not size:  # trailers are ignored
                self._finished = True
                break
            self._left = size
            at = end + 2
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _end(self) -> None:
        if not self._done.done():
            self._done.set_result(None)
