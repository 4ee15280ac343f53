"""Run the service under uvicorn, in one process or in several workers."""

import contextlib
import functools
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from dual_mode_streaming.server._config import Config, HttpLimits
from dual_mode_streaming.server._logs import log_config
from dual_mode_streaming.server._metrics import SHARED
from dual_mode_streaming.server._protocol import StreamingProtocol
from dual_mode_streaming.server._start import bound, checked_app
from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.settings import Settings, SettingsError

__all__ = ["HttpLimits", "SignalledServer", "StreamingProtocol", "Supervisor", "bound", "serve"]

_HEALTHCHECK: Final = 15
"""The time in seconds in which a worker must start, and in which a busy one must answer."""

_ACCEPTS: Final = 8
"""The number of connections that are accepted in one iteration of the event loop: uvloop accepts
one for each listening socket, so a crowd that connects would be waited for. The workers share them:
each socket wakes each worker for each connection."""

_ENDING: Final = 5.0
"""The time in seconds after `drain_timeout` in which a worker ends; then it is killed."""


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


class Supervisor(Multiprocess):
    """uvicorn's supervisor of several workers. It waits for their end for a time only."""

    def join_all(self) -> None:
        """Wait for the workers; kill those that take too long."""
        patience = self.config.timeout_graceful_shutdown or 0
        until = time.monotonic() + patience + _ENDING
        for process in self.processes:
            process.process.join(max(0.0, until - time.monotonic()))
            if process.process.is_alive():
                process.process.kill()


def _worker_app(settings: Settings) -> FastAPI:
    """Return the app of one of several workers, which ends when its supervisor is gone."""
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        wait = settings.drain_delay + settings.drain_timeout + _ENDING
        threading.Thread(target=_end_without, args=(supervisor, wait), daemon=True).start()
    return create_app(settings)


def _end_without(supervisor: Any, wait: float) -> None:
    """Shut this process down when the supervisor ends without having done so."""
    supervisor.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(wait)
    os._exit(1)


def serve(settings: Settings) -> None:
    """Run the service until SIGTERM or SIGINT; print its address when it is bound.

    Each of several workers makes an app of its own from the settings.

    Raises:
        SettingsError: a setting is wrong, or the address cannot be used. Nothing has been started.
    """
    app = checked_app(settings)
    several = settings.workers > 1
    config = Config(
        functools.partial(_worker_app, settings) if several else app,
        factory=several,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        limits=settings,
        http=StreamingProtocol,
        # uvicorn believes every program of this host; here nobody is believed who is not named.
        forwarded_allow_ips=os.environ.get("FORWARDED_ALLOW_IPS", ""),
        ws="none",  # no route is a WebSocket
        log_config=log_config(settings.log_level, settings.log_format),
        timeout_graceful_shutdown=max(1, round(settings.drain_timeout)),
        timeout_worker_healthcheck=_HEALTHCHECK,
    )
    try:
        listener = bound(config)
    except OSError as error:
        raise SettingsError(str(error)) from None
    sockets = [listener, *(listener.dup() for _ in range(_ACCEPTS // settings.workers - 1))]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    print(f"Serving on http://{host}:{listener.getsockname()[1]}", flush=True)  # noqa: T201
    if several:
        with tempfile.TemporaryDirectory(prefix="dual-mode-metrics-") as folder:
            os.environ.setdefault(SHARED, folder)
            Supervisor(config, sockets=sockets).run()
    else:
        SignalledServer(config).run(sockets=sockets)
