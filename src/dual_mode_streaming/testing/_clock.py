"""A virtual clock: an hour of timers and sleeps passes in milliseconds, and in the right order."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["VirtualClockLoop", "run_with_virtual_clock"]

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    """Where a selector would wait for the next timer, this one sets the loop's clock to it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:  # no timer at all: a socket or a thread will wake the loop
            return super().select(None)
        ready = super().select(0)
        if not ready and timeout > 0:
            self.now += timeout
        return ready


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only while nothing can run, and then all at once.

    `time()` starts at 0. For what lives inside the loop: sockets and threads take real time, which
    the loop's timers do not wait for. Give a test a real timeout as well, or a deadlock hangs it.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """The virtual time, in seconds."""
        return self._jumping.now


def run_with_virtual_clock(main: Coroutine[Any, Any, T]) -> T:
    """Like `asyncio.run`, on a virtual clock: a sleep costs nothing. Gives what `main` returns."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(main)
