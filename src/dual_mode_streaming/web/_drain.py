"""SIGTERM and SIGINT under any server: the open answers end while the server shuts down.

A server that is told to end waits for its connections, and a stream does not end by itself: uvicorn
waits for ever, hypercorn and granian cut it. Their handlers are kept: ours go before them.
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

__all__ = ["draining_on_signals"]

logger = logging.getLogger("dual_mode_streaming")

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_NOBODYS: Final = (None, signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler)


@contextmanager
def draining_on_signals(state: AppState, delay: float) -> Iterator[None]:
    """For as long as this lasts, the first SIGTERM or SIGINT drains.

    New answers are refused at once, and readiness should turn; after `delay` seconds the open ones
    are ended, and the server is told. A second signal is the server's at once. Signals that nobody
    handles stay so, and outside the main thread nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    drains: set[asyncio.Task[None]] = set()
    held: list[Callable[[], Any]] = []  # what the server has not been told yet

    def end() -> None:
        tell()
        task = loop.create_task(state.drain())
        drains.add(task)
        task.add_done_callback(drains.discard)

    def begin() -> None:
        if state.open_answers:
            logger.info("draining: %d answers are open", len(state.open_answers))
        loop.call_later(delay, end)

    def tell() -> None:
        while held:
            held.pop(0)()

    def handle(before: Callable[..., Any], number: int, frame: FrameType | None) -> None:
        held.append(functools.partial(before, number, None))
        if state.draining:
            tell()
        else:
            state.draining = True
            loop.call_soon_threadsafe(begin)

    kept: dict[int, Any] = {}
    number: int
    for number in _SIGNALS:
        before = signal.getsignal(number)
        if before not in _NOBODYS and callable(before):
            kept[number] = before
            signal.signal(number, functools.partial(handle, before))
    try:
        yield
    finally:
        for number, before in kept.items():
            signal.signal(number, before)
        for task in drains:
            task.cancel()
