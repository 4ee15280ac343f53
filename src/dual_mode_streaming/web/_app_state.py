"""The state of one app: open answers, defaults of its endpoints, observers and limits."""

import asyncio
from collections.abc import Iterable
from typing import Final

from starlette.applications import Starlette

from dual_mode_streaming.limits import Admission
from dual_mode_streaming.running.owner import End, Owner
from dual_mode_streaming.web._observing import Observer, Observers, StreamLog
from dual_mode_streaming.web._options import Options, resolved_options

_STAGGER: Final = 0.002
"""The time between the ends of two answers in a drain, in seconds. With many answers it is less."""


class AppState:
    """What `install` keeps for one app; found as `app.state.dual_mode`.

    Attributes:
        defaults: the options of all its endpoints; those of an endpoint win.
        admission: the limits that a request must pass.
        observers: the observers of its answers.
        open_answers: the owners of the answers that are open.
        draining: whether new answers are refused.
    """

    def __init__(
        self, defaults: Options, observers: Iterable[Observer], admission: Admission | None
    ) -> None:
        resolved_options(defaults)  # a wrong option is an error here
        self.defaults = defaults
        self.admission = admission or Admission()
        self.observers = Observers((StreamLog(), *observers))
        self.draining = False
        self.open_answers: set[Owner] = set()

    async def drain(self, over: float = 1.0) -> None:
        """End every open answer and wait until they are closed; new ones are refused with 503.

        The ends are spread over at most `over` seconds, so that the clients do not all reconnect
        at once. A stream ends with an error that has no end id, so that its client reconnects; a
        feed ends without an error; a batch is answered with 503. A generator that does not end is
        abandoned (see `Owner`).
        """
        self.draining = True
        loop, answers = asyncio.get_running_loop(), tuple(self.open_answers)
        began, spread = loop.time(), min(over, len(answers) * _STAGGER)
        for number, owner in enumerate(answers):
            ahead = began + spread * number / len(answers) - loop.time()
            if ahead > 0:
                await asyncio.sleep(ahead)
            owner.stop(End.DRAINING)
        while self.open_answers:
            for owner in self.open_answers:  # also those that were admitted just before
                owner.stop(End.DRAINING)
            await asyncio.sleep(0.01)


def app_state(app: Starlette) -> AppState:
    """Return the state of an app. Raises RuntimeError if `install` was not called on it."""
    state: AppState | None = getattr(app.state, "dual_mode", None)
    if state is None:
        raise RuntimeError("this app has no dual-mode state: call install(app) first")
    return state


async def drain(app: Starlette, over: float = 1.0) -> None:
    """End every open answer of the app, spread over at most `over` seconds.

    See `install` for what a drain does to streams, feeds, batches and recordings. Raises
    RuntimeError if `install` was not called on the app.
    """
    await app_state(app).drain(over)
