"""The speed of a simulated model: seconds to the first token, tokens a second, jitter."""

import asyncio
import random

from pydantic import Field

from dual_mode_streaming.llm._events import FrozenModel


class Pace(FrozenModel):
    """The speed of a simulated model. By default it does not pause.

    Attributes:
        first: seconds before the first token.
        rate: tokens a second after the first; 0 for no pause.
        jitter: the share of each pause that varies, from 0 to 1. It is the same for the same
            request.
        replay: how many times as fast as it was recorded a recorded answer is replayed; 0 for no
            pause.
    """

    first: float = Field(default=0, ge=0)
    rate: float = Field(default=0, ge=0)
    jitter: float = Field(default=0, ge=0, le=1)
    replay: float = Field(default=0, ge=0, allow_inf_nan=False)


class Metronome:
    """Waits for the times at which tokens are due; a late token does not delay those after it."""

    def __init__(self, pace: Pace, rng: random.Random) -> None:
        self._pace = pace
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        self._pause = pace.first
        self._due = self._loop.time()

    async def wait(self) -> None:
        """Wait until the next token is due."""
        pace = self._pace
        if pace.jitter:
            self._pause *= 1 + pace.jitter * self._rng.uniform(-1, 1)
        self._due += self._pause
        self._pause = 1 / pace.rate if pace.rate else 0.0
        if (pause := self._due - self._loop.time()) > 0:
            await asyncio.sleep(pause)

    def resume(self) -> None:
        """Continue from now, without catching up with a stall."""
        self._due = self._loop.time()
