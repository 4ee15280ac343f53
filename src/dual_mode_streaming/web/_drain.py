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

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_NOT_OF_A_SERVER: Final = (None, signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler)


@contextmanager
def draining_on_signals(state: AppState, delay: float) -> Iterator[None]:
    """Drain the app at the first SIGTERM or SIGINT within this context.

    New answers are refused at once, so that a readiness probe can fail. After `delay` seconds the
    open answers are ended and the server's own handler is called. A second signal is passed to the
    server at once. Signals without a handler of a server are left alone, and outside of the main
    thread nothing is done.

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

    def end_answers() -> None:
        call_server()
        task = loop.create_task(state.drain())
        drains.add(task)
        task.add_done_callback(drains.discard)

    def begin() -> None:
        if serving.open_answers:
            logger.info("draining: %d answers are open", len(serving.open_answers))
        loop.call_later(delay, end_answers)

    def handle(original: Callable[..., Any], number: int, frame: FrameType | None) -> None:
        pending.append(functools.partial(original, number, None))
        if serving.draining:
            call_server()
        else:
            serving.draining = True
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
