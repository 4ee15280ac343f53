"""How long a busy source may hold the event loop before others run."""

import asyncio
from time import perf_counter
from typing import Final

__all__ = ["Turns"]

TURN_SECONDS: Final = 0.0005
"""So long a busy source may hold the event loop, and an item may wait for the ones after it."""

ROUND_SECONDS: Final = 0.02
"""What a round of the event loop should last at the most: with many busy sources in it, each takes
shorter turns, so that the loop still notices in time who has left or is new."""

SHORTEST_TURN: Final = 0.00002
"""No turn is shorter, or the turns themselves would be most of the work."""

QUICK_SECONDS: Final = 0.00005
QUICK_ITEMS: Final = 8
"""A source whose last items took less than that is looked at after so many more: to read the clock
for each would cost a tenth of all. One that turns slow is noticed so many items later, once."""


class Turns:
    """The turns of one source; `ends` is when this one is over, on the clock of `perf_counter`."""

    __slots__ = ("_length", "_looked", "ends")

    def __init__(self) -> None:
        self._length = TURN_SECONDS
        self._looked = now = perf_counter()
        self.begin(now)

    def items_until_look(self, now: float) -> int:
        """How many items may come until the clock is read again; `now` it has been."""
        quick = now - self._looked < QUICK_SECONDS
        self._looked = now
        return QUICK_ITEMS if quick else 1

    def begin(self, now: float) -> None:
        """A new turn begins, because others have run."""
        self.ends = now + self._length

    async def give_way(self) -> None:
        """Let others run once, and learn from it how many there are."""
        left = perf_counter()
        await asyncio.sleep(0)
        back = perf_counter()
        length = self._length * ROUND_SECONDS / (back - left)
        self._length = min(max(length, SHORTEST_TURN), TURN_SECONDS)
        self.begin(back)
