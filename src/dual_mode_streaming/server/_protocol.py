"""HTTP/1 on a socket, as streams need it: uvicorn's protocol, with limits and ends of its own."""

import asyncio
import socket
import struct
import sys
from collections.abc import Sized
from http import HTTPStatus
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from dual_mode_streaming.server._config import HttpLimits
from dual_mode_streaming.server._until_close import UntilClose
from dual_mode_streaming.web._request_state import exchange_of

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    _protocol: Any = HttpToolsProtocol
except ImportError:  # there is no httptools for this platform
    _protocol = H11Protocol

if sys.platform == "linux":
    import fcntl
    import termios

__all__ = ["Streaming", "StreamingProtocol"]

_AHEAD: Final = 16
"""So many pipelined requests may wait for the answer under way; clients that pipeline send few."""

_AHEAD_BYTES: Final = 64 * 1024
"""And so many bytes. Beyond either the connection ends with the answer, and what waited is not
answered: RFC 9112, 9.3.2, has the client ask again."""

_LINGER: Final = 1.0
"""How long a client that was refused may go on sending, in seconds: if the connection closed at
once, a reset could overtake the answer (RFC 9112, 9.6)."""

_LINGER_BYTES: Final = 1024 * 1024
"""And how much it may send in that time."""


class _Stop(Exception):
    """Ends the parsing; what was wrong has been answered."""


class Streaming(asyncio.Protocol):
    """What is added to either of uvicorn's protocols for HTTP.

    `dual_mode.abort`, in the extensions of every scope, closes the connection of a reader that
    takes nothing. A shutdown ends the answers that are open, which uvicorn's own waits for. And no
    client has more of us than `HttpLimits` by a request that is too large, that it does not finish,
    or that it sends before it has read the answer to the one before.
    """

    # With more in it than its class has now the `__dict__` of each connection would be 1.5 kB.
    __slots__ = (
        "_ahead",
        "_asked",
        "_by_httptools",
        "_current",
        "_deadline",
        "_heard",
        "_in_head",
        "_lingers",
        "_lost",
        "_overhead",
        "_refused",
        "_scope",
    )

    limits = HttpLimits()  # those of a configuration that has none
    app: ASGIApp
    config: uvicorn.Config
    headers: list[tuple[bytes, bytes]]
    pipeline: Sized
    url: bytes
    cycle: Any  # uvicorn's state of the newest request; None before the first
    flow: Any
    loop: asyncio.AbstractEventLoop
    server_state: ServerState
    transport: asyncio.Transport

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.limits = getattr(self.config, "limits", self.limits)  # type: ignore[misc]
        self._asked = self.app
        self.app = self._ask
        self._scope: Scope = {}
        self._current: Any = None
        self._by_httptools = hasattr(self, "parser")
        self._refused = self._lingers = False
        self._heard = self._lost = False
        self._overhead = 0  # bytes since the last of a body, or the end of a request
        self._ahead = 0  # bytes behind the request that is being answered
        self._in_head = False
        self._deadline: asyncio.TimerHandle | None = None
        self._expect(self.limits.header_timeout)

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("extensions", {})["dual_mode.abort"] = self._abort
        self._scope = scope
        if scope["http_version"] != "1.0" or self._current is None:  # h11 knows of HTTP/1.0
            return await self._asked(scope, receive, send)
        answer = UntilClose(self._current, send)
        try:
            await self._asked(scope, receive, answer)
        except BaseException:
            if answer.begun:  # a mere end would say that it is whole
                self._abort()
            raise

    def _abort(self) -> None:
        # Without this the kernel would go on offering what it holds, for many minutes.
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def shutdown(self) -> None:
        exchange_of(self._scope).drain()
        super().shutdown()  # type: ignore[misc]

    # --- what comes in ---------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._ahead += len(data)
            if self._lingers and self._ahead > _LINGER_BYTES:
                self.transport.abort()
            return
        before, waits = self.cycle, self._is_ahead
        self._heard = True
        if self._by_httptools:  # h11 has bounds of its own
            self._overhead += len(data)
        self._ahead = self._ahead + len(data) if waits else 0
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        if self._overhead > self.limits.header_bytes:
            self._refuse_head()
        elif self._ahead > _AHEAD_BYTES:
            self._refuse(400, "Too much was sent ahead.")
        elif self._is_ahead:
            self._expect(None)
            self.flow.resume_reading()  # uvicorn has stopped it, and would not see the client go
        elif self.cycle is not None and self.cycle.more_body:
            self._expect(self.limits.body_timeout)
        elif self.cycle is not before:
            self._expect(None)
        elif self._deadline is None:
            self._expect(self.limits.header_timeout)

    @property
    def _is_ahead(self) -> bool:
        """What comes now waits for the answer to what came before."""
        newest = self.cycle
        if newest is None or newest.response_complete:
            return False
        return not newest.more_body or self._current not in (None, newest)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect(None)
        self._lost = True
        self.app = self._asked  # no cycle is left: garbage is collected seldom
        super().connection_lost(exc)
        current = self._current  # uvicorn tells the newest only
        if current is not None and not current.response_complete:
            current.disconnected = True
            current.message_event.set()

    def _expect(self, seconds: float | None) -> None:
        """More is to come within so many seconds; None for no matter when."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        self._deadline = None
        cycle = self.cycle
        if not self._heard:  # browsers open connections that they may need
            self.transport.close()
        elif cycle is None or (cycle.response_complete and not cycle.more_body):
            self._refuse(408, "The head of the request did not come in time.")
        elif cycle.response_complete:
            self.transport.close()
        elif self.flow.read_paused or cycle.waiting_for_100_continue:  # by us, who do not read yet
            self._expect(self.limits.body_timeout)
        elif not cycle.response_started:
            self._refuse(408, "The body of the request did not come in time.")

    # --- what goes out ---------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        super().on_response_complete()  # type: ignore[misc]
        self._watch_reader(None)

    def _watch_reader(self, before: int | None) -> None:
        """See that what is made is taken: the transport would wait with it for ever."""
        current = self._current or self.cycle
        if self._lost or (current.response_started and not current.response_complete):
            return  # the latter is another answer, whose end comes here as well
        waiting = self._untaken()
        if before is not None and waiting >= before:
            self._abort()
        elif waiting:
            self.loop.call_later(self.limits.send_timeout, self._watch_reader, waiting)

    def _untaken(self) -> int:
        """The bytes that the reader has not taken: those here, and if there are any, the kernel's.

        Those may be megabytes, which a slow reader takes for long before more leave from here.
        """
        waiting = self.transport.get_write_buffer_size()
        if waiting and sys.platform == "linux":
            sock = self.transport.get_extra_info("socket")
            answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
            waiting += int.from_bytes(answer, sys.byteorder)
        return waiting

    # --- refusals --------------------------------------------------------------------------------

    def _refuse_head(self) -> None:
        limit = self.limits.header_bytes
        self._refuse(431, f"The head of the request has more than {limit} bytes.")

    def _refuse(self, status: int, text: str) -> None:
        """Take no more. Answer that, unless an answer is under way, which goes out first."""
        self._refused = True
        self._expect(None)
        self.flow.resume_reading()  # to see the client go
        current = self._current or self.cycle
        if current is not None and not current.response_complete:
            if self._is_ahead:
                current.keep_alive = False
                return
            current.disconnected = True  # it waits for the body
            current.message_event.set()
            if current.response_started:
                self.transport.close()
                return
        head = [b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode())]
        head += [name + b": " + value for name, value in self.server_state.default_headers]
        head += [b"content-type: text/plain; charset=utf-8", b"connection: close"]
        head += [b"content-length: %d" % len(text), b"", text.encode("ascii")]
        self.transport.write(b"\r\n".join(head))
        if not self.transport.can_write_eof():  # TLS
            self.transport.close()
            return
        self._lingers = True
        self.transport.write_eof()
        self.loop.call_later(_LINGER, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn for what is no HTTP, and where we have stopped the parser."""
        if not self._refused:
            self._refuse(400, msg)

    # --- what httptools calls, and h11 has no need of --------------------------------------------

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()  # type: ignore[misc]

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else a trailer, and those are not for us (RFC 9110, 6.5.1)
            super().on_header(name, value)  # type: ignore[misc]

    def on_headers_complete(self) -> None:
        self._in_head, self._overhead = False, 0
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.limits.header_bytes:
            self._refuse_head()
        elif len(self.pipeline) >= _AHEAD:
            self._refuse(400, "Too much was sent ahead.")
        if self._refused:
            raise _Stop
        super().on_headers_complete()  # type: ignore[misc]

    def on_body(self, body: bytes) -> None:
        self._overhead = 0
        super().on_body(body)  # type: ignore[misc]

    def on_message_complete(self) -> None:
        self._overhead = 0
        super().on_message_complete()  # type: ignore[misc]
        if self.cycle is not None:
            self.cycle.more_body = False  # uvicorn forgets it where the answer was complete before

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._current = cycle
        super()._start_asgi_task(cycle, app)  # type: ignore[misc]


class StreamingProtocol(Streaming, _protocol):  # type: ignore[misc]
    """uvicorn's protocol on httptools, or on h11 where there is none, as `Streaming` has it."""
