"""Run the service under uvicorn, in one process or in several workers."""

import contextlib
import functools
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Final

import uvicorn
from uvicorn.supervisors import Multiprocess

from dual_mode_streaming.server._config import Config, HttpLimits
from dual_mode_streaming.server._logs import log_config
from dual_mode_streaming.server._metrics import SHARED
from dual_mode_streaming.server._protocol import StreamingProtocol
from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.settings import Settings

__all__ = ["HttpLimits", "SignalledServer", "StreamingProtocol", "bound", "serve"]

UNSENT_BYTES: Final = 128 * 1024
"""The number of unsent bytes that the kernel accepts for a connection (TCP_NOTSENT_LOWAT). By
default it accepts megabytes for a client that does not read, which are out of date when it
continues."""


class SignalledServer(uvicorn.Server):
    """A uvicorn server that exits with code 0 on SIGTERM and SIGINT, at once on a second one.

    uvicorn's own raises the signal again after its shutdown, and ignores a second one.
    """

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to shut down; the handler of `install` has been called before."""
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


def bound(config: uvicorn.Config) -> socket.socket:
    """Return a listening socket for a server.

    Exits the process with a message if the address cannot be bound.
    """
    listener = config.bind_socket()
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # connections inherit it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    listener.listen(config.backlog)
    return listener


def serve(settings: Settings) -> None:
    """Run the service until SIGTERM or SIGINT; print its address when it is bound.

    Each of several workers makes an app of its own from the settings. Exits the process with a
    message if the address cannot be bound.
    """
    several = settings.workers > 1
    config = Config(
        functools.partial(create_app, settings) if several else create_app(settings),
        factory=several,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        limits=settings,
        http=StreamingProtocol,
        ws="none",  # no route is a WebSocket
        log_config=log_config(settings.log_level, settings.log_format),
        timeout_graceful_shutdown=max(1, round(settings.drain_timeout)),
    )
    listener = bound(config)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    print(f"Serving on http://{host}:{listener.getsockname()[1]}", flush=True)  # noqa: T201
    if several:
        with tempfile.TemporaryDirectory(prefix="dual-mode-metrics-") as folder:
            os.environ.setdefault(SHARED, folder)
            Multiprocess(config, sockets=[listener]).run()
    else:
        SignalledServer(config).run(sockets=[listener])
