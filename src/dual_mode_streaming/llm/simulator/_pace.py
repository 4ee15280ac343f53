"""How fast a simulated model speaks."""

import asyncio
import random

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Metronome", "Pace"]


class Pace(BaseModel):
    """How fast a simulated model speaks. The default is as fast as it can.

    `first` are the seconds to the first token, `rate` the tokens a second after it (0: all at
    once), and `jitter` the share of each pause that varies, from 0 to 1, by the request's own dice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: float = Field(default=0, ge=0)
    rate: float = Field(default=0, ge=0)
    jitter: float = Field(default=0, ge=0, le=1)


class Metronome:
    """Keeps a pace from now on, by the clock: what one token is late the next does not inherit."""

    def __init__(self, pace: Pace, dice: random.Random) -> None:
        self._pace = pace
        self._dice = dice
        self._loop = asyncio.get_running_loop()
        self._pause = pace.first
        self._due = self._loop.time()

    async def wait(self) -> None:
        """Until the next token is due."""
        pace = self._pace
        if pace.jitter:
            self._pause *= 1 + pace.jitter * self._dice.uniform(-1, 1)
        self._due += self._pause
        self._pause = 1 / pace.rate if pace.rate else 0.0
        if (pause := self._due - self._loop.time()) > 0:
            await asyncio.sleep(pause)

    def resume(self) -> None:
        """Go on from now: there was a silence that is not to be caught up with."""
        self._due = self._loop.time()
