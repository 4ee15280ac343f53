"""The state of one app: open answers, defaults of its endpoints, observers and limits."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Final
from weakref import WeakKeyDictionary

from starlette.applications import Starlette

from dual_mode_streaming.limits import Admission
from dual_mode_streaming.running.owner import End, Owner
from dual_mode_streaming.web._observing import STREAM_LOG, Observer, Observers
from dual_mode_streaming.web._options import Options, resolved_options

_STAGGER: Final = 0.002
"""The time between the ends of two answers in a drain, in seconds. With many answers it is less."""


class Serving:
    """What an app does in one event loop, from the start of its lifespan to the end.

    Attributes:
        leaving: whether the server will be shut down; new answers ask for another connection.
        draining: whether new answers are refused.
        drained_by: the time of the loop at which a drain ends what it lets run on.
        open_answers: the owners of the answers that are open.
        batches: those of them that are batches.
        by_lifespan: whether the lifespan began it; else the first request did.
    """

    __slots__ = (
        "__weakref__",
        "batches",
        "by_lifespan",
        "drained_by",
        "draining",
        "leaving",
        "open_answers",
    )

    def __init__(self, *, by_lifespan: bool) -> None:
        self.leaving = self.draining = False
        self.drained_by = 0.0
        self.open_answers: set[Owner] = set()
        self.batches: set[Owner] = set()
        self.by_lifespan = by_lifespan


class AppState:
    """What `install` keeps for one app; found as `app.state.dual_mode`.

    Attributes:
        defaults: the options of all its endpoints; those of an endpoint win.
        admission: the limits that a request must pass.
        observers: the observers of its answers.
        drain_timeout: the time in seconds that a drain gives to batches and recordings.
        on_begin: called when the app begins to serve in an event loop, set by `install`.
        body_values: the most values and names in a JSON body; None for no limit.
        lifespan: the context of what runs for as long as the app serves, set by `install`. Its
            argument is whether the app handles signals.
        on_request: called in the context of each request, set by `install`.
        on_first_request: called when the app is served without a lifespan, set by `install`. Its
            argument is whether it is mounted in an app without `install`.
    """

    on_begin: Callable[[], None]
    lifespan: Callable[[bool], AbstractAsyncContextManager[None]]
    on_request: Callable[[], object]
    on_first_request: Callable[[bool], None]

    def __init__(
        self,
        defaults: Options,
        observers: Iterable[Observer],
        admission: Admission | None,
        body_values: int | None,
    ) -> None:
        resolved_options(defaults)  # a wrong option is an error here
        self.defaults = defaults
        self.admission = admission or Admission()
        self.body_values = body_values
        self.observers = Observers((STREAM_LOG, *observers))
        self.drain_timeout = 0.0
        self._servings: WeakKeyDictionary[asyncio.AbstractEventLoop, Serving] = WeakKeyDictionary()
        self._current: tuple[asyncio.AbstractEventLoop | None, Serving | None] = None, None

    @property
    def serving(self) -> Serving:
        """What the app does in the running event loop."""
        loop, current = self._current
        if loop is asyncio.get_running_loop() and current is not None:
            return current
        found = self._servings.get(asyncio.get_running_loop())
        if found is None:
            found = self.begin(by_lifespan=False)
            self.on_first_request(False)
        self._current = asyncio.get_running_loop(), found
        return found

    def begin_at_request(self, *, is_mounted: bool) -> None:
        """Begin at the first request, if there is no lifespan."""
        if self._current[0] is asyncio.get_running_loop():  # the usual case, and the fastest check
            return
        if asyncio.get_running_loop() not in self._servings:
            self.begin(by_lifespan=False)
            self.on_first_request(is_mounted)

    @property
    def is_begun(self) -> bool:
        """Whether the lifespan has begun in the running event loop, and has not ended."""
        found = self._servings.get(asyncio.get_running_loop())
        return found is not None and found.by_lifespan

    def begin(self, *, by_lifespan: bool = True) -> Serving:
        """Begin to serve in the running event loop, with nothing left of an earlier time."""
        serving = Serving(by_lifespan=by_lifespan)
        self._servings[asyncio.get_running_loop()] = serving
        self.on_begin()
        self._current = asyncio.get_running_loop(), serving
        return serving

    def end(self) -> None:
        """End what `begin` began."""
        self._servings.pop(asyncio.get_running_loop(), None)
        self._current = None, None

    @property
    def leaving(self) -> bool:
        """Whether the server will be shut down."""
        return self.serving.leaving

    @property
    def draining(self) -> bool:
        """Whether new answers are refused."""
        return self.serving.draining

    @property
    def open_answers(self) -> set[Owner]:
        """The owners of the answers that are open."""
        return self.serving.open_answers

    async def drain(self, over: float = 1.0) -> None:
        """End every open answer and wait until they are closed; new ones are refused with 503.

        The ends are spread over at most `over` seconds, so that the clients do not all reconnect
        at once. A stream ends with an error that has no end id, so that its client reconnects; a
        feed ends without an error. A batch that is not done after `drain_timeout` is answered with
        503. A generator that does not end is abandoned (see `Owner`).
        """
        serving, loop = self.serving, asyncio.get_running_loop()
        serving.leaving = serving.draining = True
        began = loop.time()
        serving.drained_by = began + self.drain_timeout
        answers = tuple(serving.open_answers - serving.batches)
        spread = min(over, len(answers) * _STAGGER)
        for number, owner in enumerate(answers):
            ahead = began + spread * number / len(answers) - loop.time()
            if ahead > 0:
                await asyncio.sleep(ahead)
            owner.stop(End.DRAINING)
        while serving.open_answers:
            for owner in serving.open_answers:  # also those that were admitted just before
                if owner not in serving.batches or loop.time() >= serving.drained_by:
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

    It refuses new answers until the lifespan ends: the next lifespan begins anew.
    See `install` for what a drain does to streams, feeds, batches and recordings. Raises
    RuntimeError if `install` was not called on the app.
    """
    await app_state(app).drain(over)
