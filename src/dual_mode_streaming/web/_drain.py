"""SIGTERM and SIGINT under any server: the open answers end when the server shuts down.

A server that receives a signal waits for its connections, but a stream does not end by itself:
uvicorn waits forever, hypercorn and granian cut it. The server's handlers are kept; ours run first.
"""

import asyncio
import functools
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from dual_mode_streaming.web._app_state import AppState

logger = logging.getLogger("dual_mode_streaming")

_CLOSING: Final = 0.4
"""The time in seconds in which a server closes its listener, and takes the requests of the last
connections. What arrives until then is answered. uvicorn looks every 0.1 s whether to end."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_NOT_OF_A_SERVER: Final = (None, signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler)


@contextmanager
def draining_on_signals(state: AppState, delay: float) -> Iterator[None]:
    """Drain the app at the first SIGTERM or SIGINT within this context.

    A readiness probe can fail at once. For `delay` seconds everything is answered as before, on
    connections that are then closed. After that the server's own handler is called, which closes
    the listener; then new answers are refused and the open ones end. A second signal is passed to
    the server at once. Signals without a handler of a server are left alone, and outside of the
    main thread nothing is done.

    Args:
        state: the state of the app.
        delay: the time in seconds between the signal and the end of the open answers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, serving = asyncio.get_running_loop(), state.serving
    drains: set[asyncio.Task[None]] = set()
    pending: list[Callable[[], Any]] = []  # the calls of the server's handlers that are due

    def call_server() -> None:
        while pending:
            pending.pop(0)()

    def close_listener() -> None:
        call_server()
        loop.call_later(_CLOSING, end_answers)

    def end_answers() -> None:
        task = loop.create_task(state.drain())
        drains.add(task)
        task.add_done_callback(drains.discard)

    def begin() -> None:
        if serving.open_answers:
            logger.info("draining: %d answers are open", len(serving.open_answers))
        loop.call_later(delay, close_listener)

    def handle(original: Callable[..., Any], number: int, frame: FrameType | None) -> None:
        pending.append(functools.partial(original, number, None))
        if serving.leaving:
            call_server()
        else:
            serving.leaving = True
            loop.call_soon_threadsafe(begin)

    originals: dict[int, Any] = {}
    number: int
    for number in _SIGNALS:
        original = signal.getsignal(number)
        if original not in _NOT_OF_A_SERVER and callable(original):
            originals[number] = original
            signal.signal(number, functools.partial(handle, original))
    try:
        yield
    finally:
        for number, original in originals.items():
            signal.signal(number, original)
        for task in drains:
            task.cancel()
