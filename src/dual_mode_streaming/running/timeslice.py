"""How long a busy source may hold the event loop before other tasks run."""

import asyncio
import threading
from collections import deque
from time import perf_counter
from typing import Final

__all__ = ["Timeslice"]

STREAM_SECONDS: Final = 0.00025
"""The longest timeslice of a stream, in seconds, and the longest time that an item is buffered."""

BATCH_SECONDS: Final = 0.001
"""The longest timeslice of a batch, in seconds. It is sent as a whole, so items may wait longer."""

QUICK_SECONDS: Final = 0.000006
"""The time, in seconds, below which an item counts as quick."""

STREAM_STEP: Final = 8
BATCH_STEP: Final = 32
"""The number of quick items between two readings of the clock. To read it for every item would cost
a tenth of the time; a source that becomes slow is noticed at most this many items later."""


class _Turns:
    """Who of the busy sources of one event loop runs next: one in each iteration of the loop.

    So a new request waits for a few timeslices, however many sources are busy.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._resting = False  # the only busy source lets others run once
        self._scheduled = False

    async def wait(self) -> None:
        """Let other tasks run, and the other busy sources, each for one timeslice."""
        if not self._waiting and not self._resting:
            self._resting = True
            try:
                await asyncio.sleep(0)
            finally:
                self._resting = False
            return
        turn = self.loop.create_future()
        self._waiting.append(turn)
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._next)
        await turn

    def _next(self) -> None:
        """Wake the first that waits, and come back in the next iteration if there are more."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # else it was cancelled
                turn.set_result(None)
                break
        self._scheduled = bool(self._waiting)
        if self._scheduled:
            self.loop.call_soon(self._next)


_here = threading.local()


def _turns() -> _Turns:
    """Return the turns of the running event loop, the only one of its thread."""
    loop = asyncio.get_running_loop()
    turns: _Turns | None = getattr(_here, "turns", None)
    if turns is None or turns.loop is not loop:
        turns = _here.turns = _Turns(loop)
    return turns


class Timeslice:
    """The current timeslice of one source.

    Args:
        of_batch: use the longer bounds of a batch.

    Attributes:
        ends: when the timeslice is over, on the clock of `time.perf_counter`.
    """

    __slots__ = ("_checked", "_length", "_quick_step", "_step", "ends")

    def __init__(self, *, of_batch: bool = False) -> None:
        self._length = BATCH_SECONDS if of_batch else STREAM_SECONDS
        self._step = 1
        self._quick_step = BATCH_STEP if of_batch else STREAM_STEP
        self._checked = now = perf_counter()
        self.begin(now)

    def items_until_check(self, now: float) -> int:
        """Return the number of items to take before the clock is read again; `now` is its value."""
        quick = now - self._checked < QUICK_SECONDS * self._step
        self._checked = now
        self._step = self._quick_step if quick else 1
        return self._step

    def begin(self, now: float) -> None:
        """Begin a new timeslice at `now`, because other tasks have run."""
        self.ends = now + self._length

    async def yield_to_others(self) -> None:
        """Let other tasks run, and wait until it is this source's turn again."""
        await _turns().wait()
        self.begin(perf_counter())
