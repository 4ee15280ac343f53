"""Run the service under uvicorn: streams end at a shutdown, stalled connections close."""

import contextlib
import os
import secrets
import signal
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.supervisors import Multiprocess

from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.logs import configured
from dual_mode_streaming.server.metrics import SHARED
from dual_mode_streaming.server.settings import Settings
from dual_mode_streaming.web.lifecycle import exchange_of

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    _protocol: Any = HttpToolsProtocol
except ImportError:  # there is no httptools for this platform
    _protocol = H11Protocol

__all__ = ["Server", "StreamingProtocol", "serve"]


class StreamingProtocol(_protocol):  # type: ignore[misc]
    """uvicorn's HTTP protocol, with the two things that streams need and ASGI does not have.

    `dual_mode.abort`, in the extensions of every scope, closes the connection of a reader that
    takes nothing. And a shutdown ends the answers that are open, which uvicorn's own waits for.
    """

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        app: ASGIApp = self.app  # type: ignore[has-type]
        self._scope: Scope = {}

        def abort() -> None:
            # Without this the kernel would go on offering what it holds, for many minutes.
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()

        async def with_abort(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})["dual_mode.abort"] = abort
            self._scope = scope
            await app(scope, receive, send)

        self.app = with_abort

    def shutdown(self) -> None:
        exchange_of(self._scope).drain()
        super().shutdown()


class Server(uvicorn.Server):
    """A uvicorn server that SIGTERM and SIGINT end with exit code 0, and a second one at once.

    uvicorn's own raises the signal once more when it has shut down, and waits on at a second one.
    """

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """What `install` did with the signal came before."""
        if self.should_exit:
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handled = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(settings: Settings) -> None:
    """Run the service until SIGTERM or SIGINT; prints its address once it is bound.

    Several workers make their own app each, from the environment. Exits the process with a message
    if the address cannot be bound.
    """
    several = settings.workers > 1
    config = uvicorn.Config(
        "dual_mode_streaming.server.app:create_app" if several else create_app(settings),
        factory=several,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        http=StreamingProtocol,
        log_config=configured(settings.log_level, settings.log_format),
        timeout_graceful_shutdown=max(1, round(settings.drain_timeout)),
    )
    listener = config.bind_socket()
    listener.listen(config.backlog)  # whoever reads the address below may connect at once
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    print(f"Serving on http://{host}:{listener.getsockname()[1]}", flush=True)  # noqa: T201
    if several:
        os.environ.update(settings.as_environment())
        os.environ.setdefault("DUAL_MODE_TOKEN_SECRET", secrets.token_hex(32))
        with tempfile.TemporaryDirectory(prefix="dual-mode-metrics-") as folder:
            os.environ.setdefault(SHARED, folder)
            Multiprocess(config, sockets=[listener]).run()
    else:
        Server(config).run(sockets=[listener])
