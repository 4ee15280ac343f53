"""HTTP/1.1 for streams: uvicorn's protocol, with timeouts, an abort, and an end at a shutdown."""

import asyncio
import re
import socket
import struct
import sys
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dual_mode_streaming.negotiation import ResponseMode
from dual_mode_streaming.server._config import HttpLimits
from dual_mode_streaming.web._request_state import request_state

if sys.platform == "linux":
    import fcntl
    import termios

_LINGER: Final = 1.0
"""The time in seconds in which a refused client may go on sending. If the connection were closed at
once, a reset could overtake the answer (RFC 9112, section 9.6)."""

_LAST_REQUEST: Final = 0.2
"""The time in seconds for the request of a connection that was accepted just before a shutdown."""

_FIRST_LOOK: Final = 0.002
_LAST_LOOK: Final = 4.0
"""The first and the last pause in seconds between two looks whether a client is still there."""

_LINGER_BYTES: Final = 1024 * 1024
"""The maximum number of bytes that are received in that time."""


_HOST: Final = re.compile(rb"(\[[0-9A-Za-z:.%_-]*\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(:[0-9]{0,5})?")
"""The value of a Host header (RFC 9110, section 7.2)."""


class _Stop(Exception):
    """Ends the parsing of a request that has been refused."""


def _abort_nothing() -> None:
    """Replaces `dual_mode.abort` when the connection is closed."""


def _wrong_head(version: str, headers: list[tuple[bytes, bytes]]) -> tuple[int, str] | None:
    """Return status and detail of the refusal of a head that the parser takes (RFC 9112)."""
    if version not in ("1.1", "1.0"):
        return 505, "The version of the request is neither HTTP/1.1 nor HTTP/1.0."
    hosts = [value.strip(b" \t") for name, value in headers if name == b"host"]
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        return 400, "A request needs one Host header."
    if hosts and not _HOST.fullmatch(hosts[0]):
        return 400, "The Host header is no host and port."
    codings = [
        value.strip(b" \t").lower() for name, value in headers if name == b"transfer-encoding"
    ]
    if codings and version == "1.0":
        return 400, "A request of HTTP/1.0 has no Transfer-Encoding."
    if codings not in ([], [b"chunked"]):
        return 501, "The only Transfer-Encoding that is understood is chunked."
    return None


def _unchunked(cycle: Any, app: Any) -> Any:
    """Return the app for a client of HTTP/1.0: the end of the connection ends the body.

    uvicorn would send it chunked, which such a client does not know (RFC 9112, section 6.1).
    """

    async def run(scope: Any, receive: Any, send: Any) -> None:
        until_close = False

        async def send_unchunked(message: Any) -> None:
            nonlocal until_close
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message.get("headers", ())}
                until_close = b"content-length" not in names
                if until_close:
                    cycle.keep_alive = cycle.chunked_encoding = False
            elif until_close:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, send_unchunked)

    return run


class StreamingProtocol(HttpToolsProtocol):
    """uvicorn's protocol with what streams need in addition.

    - Every scope has the extension `dual_mode.abort`, a function that resets the connection, for a
      client that reads nothing.
    - A shutdown ends the open answers; uvicorn's own waits for them.
    - `HttpLimits` bound the cost of a client that sends a large head, sends slowly, or does not
      read.
    - A client that closes its writing half, and reads on, is answered.
    - There is no pipelining: if a request arrives before the previous one is answered, the
      connection is closed after that answer, and the client has to repeat the request (RFC 9112,
      section 9.3.2).
    """

    # Slots, because a `__dict__` of more attributes than uvicorn's would be 1.5 kB larger.
    __slots__ = ("_deadline", "_head_bytes", "_in_head", "_lost", "_received", "_refused")

    limits = HttpLimits()  # for a uvicorn.Config that has none

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.limits = getattr(self.config, "limits", self.limits)
        self._refused = self._received = self._lost = self._in_head = False
        self._head_bytes = 0  # since the last byte of a body, or the end of a request
        self._deadline: asyncio.TimerHandle | None = None
        self._expect(self.limits.header_timeout)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        cycle.scope.setdefault("extensions", {})["dual_mode.abort"] = self._abort
        if cycle.scope["http_version"] == "1.0":
            app = _unchunked(cycle, app)
        super()._start_asgi_task(cycle, app)

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: it is no fault, and the answer refuses the upgrade or ignores it."""

    def _abort(self) -> None:
        # Without the option, the kernel would go on for minutes to offer the bytes it holds.
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def shutdown(self) -> None:
        if not self._received:  # it was accepted just before, and its request is on the way
            self.loop.call_later(_LAST_REQUEST, self._close_unused)
            return
        if self.cycle is not None:
            request_state(dict(self.cycle.scope)).drain()
        super().shutdown()

    def _close_unused(self) -> None:
        if self._received:
            self.shutdown()
        else:
            self.transport.close()

    # --- receiving -------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        if self._refused:
            if self._deadline is not None and self._head_bytes > _LINGER_BYTES:
                self.transport.abort()
            return
        before = self.cycle
        self._received = True
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        if self._head_bytes > self.limits.header_bytes:
            self._refuse_head()
        elif self.cycle is not None and self.cycle.more_body:
            self._expect(self.limits.body_timeout)
        elif self.cycle is not before:
            self._expect(None)
        elif self._deadline is None:
            self._expect(self.limits.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect(None)
        self._lost = True
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn leaves the timer where the client reset
        if self.cycle is not None:  # or the scope and this protocol would be a reference cycle
            scope: Any = self.cycle.scope
            scope.setdefault("extensions", {})["dual_mode.abort"] = _abort_nothing

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answer a client that has closed its writing half only, as some do after their request.

        One that has left says the same. So something harmless is sent, which it would reset.
        """
        cycle = self.cycle
        if cycle is None or cycle.more_body or cycle.response_complete or self._refused:
            return None
        if cycle.scope["http_version"] == "1.0" or not self.transport.can_write_eof():  # TLS
            return None
        if not cycle.response_started:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        else:
            answer = request_state(dict(cycle.scope)).observed
            if answer is None:
                return None  # a stream of which nothing is known
            if answer.mode is not ResponseMode.BATCH and cycle.chunked_encoding:
                self.transport.write(b"1\r\n\n\r\n")  # an empty line, between two frames
        cycle.keep_alive = False
        self._watch_reset(_FIRST_LOOK)
        return True

    def _watch_reset(self, pause: float) -> None:
        """Look, less and less often, whether the client has reset the connection."""
        if self._lost:
            return
        if self.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()
        elif pause < _LAST_LOOK:
            self.loop.call_later(pause, self._watch_reset, 2 * pause)

    def _expect(self, seconds: float | None) -> None:
        """Set the timeout of the next part of a request, or of its end; None for no timeout."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._on_late)

    def _on_late(self) -> None:
        self._deadline = None
        cycle = self.cycle
        if not self._received:  # browsers open connections in reserve
            self.transport.close()
        elif cycle is None or (cycle.response_complete and not cycle.more_body):
            self._refuse(408, "The head of the request did not arrive in time.")
        elif cycle.response_complete:
            self.transport.close()
        elif self.flow.read_paused or cycle.waiting_for_100_continue:  # the app does not read yet
            self._expect(self.limits.body_timeout)
        elif not cycle.response_started:
            self._refuse(408, "The body of the request did not arrive in time.")

    # --- sending ---------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_reader(None)

    def _watch_reader(self, before: int | None) -> None:
        """Abort if the client reads nothing: the transport would keep the answer without end."""
        if self._lost or (self.cycle.response_started and not self.cycle.response_complete):
            return  # the latter is the next answer; this is called at its end, too
        unread = self._unread()
        if before is not None and unread >= before:
            self._abort()
        elif unread:
            self.loop.call_later(self.limits.send_timeout, self._watch_reader, unread)

    def _unread(self) -> int:
        """Return the number of bytes that the client has not acknowledged.

        They are in the transport and, if there are any, in the kernel too: it may hold megabytes,
        and while a slow client reads those, the transport's number does not change.
        """
        unread = self.transport.get_write_buffer_size()
        if unread and sys.platform == "linux":
            sock = self.transport.get_extra_info("socket")
            answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
            unread += int.from_bytes(answer, sys.byteorder)
        return unread

    # --- refusing --------------------------------------------------------------------------------

    def _refuse_head(self) -> None:
        limit = self.limits.header_bytes
        self._refuse(431, f"The head of the request has more than {limit} bytes.")

    def _refuse(self, status: int, detail: str) -> None:
        """Ignore what follows. Answer with the status, unless an answer is in progress."""
        self._refused = True
        self._expect(None)
        self.flow.resume_reading()  # to notice when the client leaves
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body:
                cycle.keep_alive = False
                return
            cycle.disconnected = True  # the app may be waiting for the body
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
                return
        head = [b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode())]
        head += [name + b": " + value for name, value in self.server_state.default_headers]
        head += [b"content-type: text/plain; charset=utf-8", b"connection: close"]
        head += [b"content-length: %d" % len(detail), b"", detail.encode("ascii")]
        self.transport.write(b"\r\n".join(head))
        if not self.transport.can_write_eof():  # TLS
            self.transport.close()
            return
        self.transport.write_eof()
        self._deadline = self.loop.call_later(_LINGER, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP. uvicorn also calls it when `_Stop` was raised."""
        if not self._refused:
            self._refuse(400, msg)

    # --- the callbacks of httptools --------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._refuse(400, "The previous request has not been answered yet.")
            raise _Stop
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers are not headers (RFC 9110, section 6.5.1)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.limits.header_bytes:
            self._refuse_head()
            raise _Stop
        if (wrong := _wrong_head(self.parser.get_http_version(), self.headers)) is not None:
            self._refuse(*wrong)
            raise _Stop
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        super().on_message_complete()
        if self.cycle is not None:
            self.cycle.more_body = False  # uvicorn leaves it if the answer was complete before
