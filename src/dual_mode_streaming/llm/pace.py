"""How fast a simulated model speaks."""

import asyncio
import random

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Pace"]


class Pace(BaseModel):
    """How fast a simulated model speaks. The default is as fast as it can.

    `first` are the seconds to the first token, `rate` the tokens a second after it (0: all at
    once), and `jitter` the share of each pause that varies, from 0 to 1, by the request's own dice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: float = Field(default=0, ge=0)
    rate: float = Field(default=0, ge=0)
    jitter: float = Field(default=0, ge=0, le=1)

    async def wait(self, dice: random.Random, *, first: bool) -> None:
        """The pause before a token."""
        pause = self.first if first else 1 / self.rate if self.rate else 0.0
        pause *= 1 + self.jitter * dice.uniform(-1, 1)
        if pause > 0:
            await asyncio.sleep(pause)
