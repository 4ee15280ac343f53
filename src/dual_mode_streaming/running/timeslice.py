"""How long a busy source may hold the event loop before other tasks run."""

import asyncio
from time import perf_counter
from typing import Final

__all__ = ["Timeslice"]

STREAM_SECONDS: Final = 0.00025
"""The longest timeslice of a stream, in seconds, and the longest time that an item is buffered."""

BATCH_SECONDS: Final = 0.001
"""The longest timeslice of a batch, in seconds. It is sent as a whole, so items may wait longer."""

ROUND_SECONDS: Final = 0.01
"""The target length of one iteration of the event loop, in seconds. With many busy sources each
gets shorter timeslices, so that disconnects and new requests are still noticed in time."""

SHORTEST_SECONDS: Final = 0.00002
"""The shortest timeslice, in seconds. Below it most of the time would go into switching tasks."""

QUICK_SECONDS: Final = 0.000006
"""The time, in seconds, below which an item counts as quick."""

STREAM_STEP: Final = 8
BATCH_STEP: Final = 32
"""The number of quick items between two readings of the clock. To read it for every item would cost
a tenth of the time; a source that becomes slow is noticed at most this many items later."""


class Timeslice:
    """The current timeslice of one source.

    Args:
        of_batch: use the longer bounds of a batch.

    Attributes:
        ends: when the timeslice is over, on the clock of `time.perf_counter`.
    """

    __slots__ = ("_checked", "_length", "_longest", "_quick_step", "_step", "ends")

    def __init__(self, *, of_batch: bool = False) -> None:
        self._length = self._longest = BATCH_SECONDS if of_batch else STREAM_SECONDS
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
        """Let other tasks run once, and adapt the length of a timeslice to how long they took."""
        left = perf_counter()
        await asyncio.sleep(0)
        back = perf_counter()
        length = self._length * ROUND_SECONDS / (back - left)
        self._length = min(max(length, SHORTEST_SECONDS), self._longest)
        self.begin(back)
