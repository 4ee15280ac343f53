"""How long a busy source may hold the event loop before others run."""

import asyncio
from time import perf_counter
from typing import Final

__all__ = ["Turns"]

TURN_SECONDS: Final = 0.00025
"""So long a busy source may hold the event loop, and an item may wait for the ones after it."""

BATCH_TURN_SECONDS: Final = 0.001
"""The same for a batch, whose items nobody waits for one by one: fewer turns are cheaper."""

ROUND_SECONDS: Final = 0.01
"""What a round of the event loop should last at the most: with many busy sources in it, each takes
shorter turns, so that the loop still notices in time who has left or is new."""

SHORTEST_TURN: Final = 0.00002
"""No turn is shorter, or the turns themselves would be most of the work."""

QUICK_SECONDS: Final = 0.000006
QUICK_ITEMS: Final = 8
BATCH_QUICK_ITEMS: Final = 32
"""A source whose items take less than that is looked at after so many more: to read the clock for
each would cost a tenth of all. One that turns slow is noticed so many items later, once."""


class Turns:
    """The turns of one source; `ends` is when this one is over, on the clock of `perf_counter`."""

    __slots__ = ("_length", "_longest", "_looked", "_quick_items", "_step", "ends")

    def __init__(self, *, of_batch: bool = False) -> None:
        self._length = self._longest = BATCH_TURN_SECONDS if of_batch else TURN_SECONDS
        self._step = 1
        self._quick_items = BATCH_QUICK_ITEMS if of_batch else QUICK_ITEMS
        self._looked = now = perf_counter()
        self.begin(now)

    def items_until_look(self, now: float) -> int:
        """How many items may come until the clock is read again; `now` it has been."""
        quick = now - self._looked < QUICK_SECONDS * self._step
        self._looked = now
        self._step = self._quick_items if quick else 1
        return self._step

    def begin(self, now: float) -> None:
        """A new turn begins, because others have run."""
        self.ends = now + self._length

    async def give_way(self) -> None:
        """Let others run once, and learn from it how many there are."""
        left = perf_counter()
        await asyncio.sleep(0)
        back = perf_counter()
        length = self._length * ROUND_SECONDS / (back - left)
        self._length = min(max(length, SHORTEST_TURN), self._longest)
        self.begin(back)
