"""What an app knows of its open answers: `install` it once, `drain` it at the end."""

import asyncio
import time
from collections.abc import Iterable
from typing import Final, Unpack

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dual_mode_streaming.limits import Admission, TooMany
from dual_mode_streaming.negotiation import ResponseMode
from dual_mode_streaming.running.owner import End, Owner
from dual_mode_streaming.web._observing import Answer, Observer, Observers, StreamLog
from dual_mode_streaming.web._options import OptionOverrides, Options
from dual_mode_streaming.web._problems import problem, problem_response, vary_by_accept

__all__ = [
    "Exchange",
    "Lifecycle",
    "LifecycleMiddleware",
    "drain",
    "end_at",
    "exchange_of",
    "lifecycle_of",
    "wrap",
]

_KEY: Final = "dual_mode"

_VARY: Final = (b"vary", b"Accept")

_STAGGER: Final = 0.002
"""The time between two ends in a drain, in seconds, unless there are too many for it."""


_CURSOR_BYTES: Final = 1024
"""The longest Last-Event-ID. Ours have 60 bytes at most, and an app's own ids are seldom longer
than a key of its database; what is longer nobody here has told the client."""


class Lifecycle:
    """The open answers of one app, the defaults of its endpoints, and who is told of them."""

    def __init__(
        self,
        defaults: OptionOverrides,
        observers: Iterable[Observer] = (),
        admission: Admission | None = None,
    ) -> None:
        Options.of(defaults)  # a bad one is told where it is given
        self.defaults = defaults
        self.admission = admission or Admission()
        self.observers = Observers((StreamLog(), *observers))
        self.draining = False
        self.open_answers: set[Owner] = set()

    async def drain(self, over: float = 1.0) -> None:
        """End every open answer and wait until they are gone; new ones are refused with 503.

        Many are not ended at once, or all their readers would come again at once: their ends are
        spread over `over` seconds, or less if there are few. Streams end with an error that has no
        end id, so that readers come again; a feed ends without one; a batch is a 503. A generator
        that does not end is abandoned (`Owner`).
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
            for owner in self.open_answers:  # also one that was let in just before
                owner.stop(End.DRAINING)
            await asyncio.sleep(0.01)


class Exchange:
    """One request and its answer, as far as the app around it wants to know."""

    __slots__ = (
        "_drained",
        "_expiry",
        "_lifecycle",
        "_observed",
        "_owner",
        "_ticket",
        "_timer",
        "head",
        "negotiated",
        "status",
    )

    def __init__(self, lifecycle: Lifecycle | None) -> None:
        self._lifecycle = lifecycle
        self._owner: Owner | None = None
        self._observed: Answer | None = None
        self._drained = False
        self._expiry: float | None = None
        self._ticket: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.negotiated = False
        self.head = False  # asked by HEAD, and routed as GET
        self.status = 0

    @property
    def defaults(self) -> OptionOverrides:
        """The app's own settings for its endpoints."""
        return {} if self._lifecycle is None else self._lifecycle.defaults

    @property
    def draining(self) -> bool:
        """The app, or this connection, takes no new answer."""
        return self._drained or (self._lifecycle is not None and self._lifecycle.draining)

    def end_at(self, when: float) -> None:
        """The answer ends at that time (Unix time, seconds), if it is still open then."""
        self._expiry = when if self._expiry is None else min(when, self._expiry)

    async def admit(self, scope: Scope) -> TooMany | None:
        """Let the request in, or say why not; asked again, it is the same answer.

        What is let in has to be left again: by `leave`, which `close` does as well.
        """
        lifecycle = self._lifecycle
        refusal = TooMany(503, End.DRAINING.value, "draining") if self.draining else None
        if refusal is None and lifecycle is not None and self._ticket is None:
            try:
                self._ticket = await lifecycle.admission.enter(scope)
            except TooMany as full:
                refusal = full
        if refusal is not None and lifecycle is not None:
            lifecycle.observers.refuse(scope, refusal.reason)
        return refusal

    def leave(self) -> None:
        """Make room for another."""
        if self._ticket is not None and self._lifecycle is not None:
            self._lifecycle.admission.leave(self._ticket)
            self._ticket = None

    def observe(self, mode: ResponseMode, scope: Scope) -> Answer | None:
        """What the observers are told of the answer that begins; None if there is no app."""
        if self._lifecycle is not None:
            self._observed = Answer(mode, scope, self._lifecycle.observers)
        return self._observed

    def open(self, owner: Owner) -> None:
        """The answer is open from now on, and may be ended by the app."""
        self._owner = owner
        if self._lifecycle is not None:
            self._lifecycle.open_answers.add(owner)
        if self._expiry is not None:
            loop = asyncio.get_running_loop()
            left = self._expiry - time.time()
            self._timer = loop.call_later(left, owner.stop, End.EXPIRED)

    def close(self, owner: Owner, failure: BaseException | None = None) -> None:
        """The answer is over, by itself, as its owner says, or by a failure."""
        if self._timer is not None:
            self._timer.cancel()
        if self._lifecycle is not None:
            self._lifecycle.open_answers.discard(owner)
        self._owner = None
        self.leave()
        observed, self._observed = self._observed, None  # it holds the scope, which holds us
        if observed is not None:
            observed.close(owner, self.status, failure)

    def drain(self) -> None:
        """End the answer, or refuse it if it has not begun: the server is shutting down.

        In an app that drains already it ends in its turn.
        """
        self._drained = True
        draining = self._lifecycle is not None and self._lifecycle.draining
        if self._owner is not None and not draining:
            self._owner.stop(End.DRAINING)


def exchange_of(scope: Scope) -> Exchange:
    """The exchange that the app's `install` has put into the scope, or one without an app."""
    exchange = scope.get(_KEY)
    return exchange if isinstance(exchange, Exchange) else Exchange(None)


class LifecycleMiddleware:
    """The outermost layer of an app that is installed: it marks each request as the app's, refuses
    what can be no cursor, and adds `Vary: Accept` to errors that were made after the negotiation by
    handlers that know nothing of it."""

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle) -> None:
        self._app = app
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _KEY in scope:
            return await self._app(scope, receive, send)
        scope[_KEY] = exchange = Exchange(self._lifecycle)
        for name, value in scope["headers"]:
            if name == b"last-event-id" and len(value) > _CURSOR_BYTES:
                detail = f"Last-Event-ID has more than {_CURSOR_BYTES} bytes"
                return await problem_response(problem(400, detail))(scope, receive, send)

        async def send_with_vary(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                if exchange.negotiated and _VARY not in message.get("headers", ()):
                    message.setdefault("headers", [])
                    vary_by_accept(MutableHeaders(scope=message))
            await send(message)

        try:
            await self._app(scope, receive, send_with_vary)
        finally:
            exchange.leave()


def wrap(
    app: Starlette,
    observers: Iterable[Observer] = (),
    admission: Admission | None = None,
    **defaults: Unpack[OptionOverrides],
) -> Lifecycle:
    """Put the lifecycle around everything of the app, its error handlers too; once.

    Raises RuntimeError if it is there already, or the app has begun to serve.
    """
    if hasattr(app.state, "dual_mode"):
        raise RuntimeError("install(app) was called on this app before; once is enough")
    if app.middleware_stack is not None:
        raise RuntimeError("install(app) must come before the app serves its first request")
    lifecycle = Lifecycle(defaults, observers, admission)
    build = app.build_middleware_stack

    def build_with_lifecycle() -> ASGIApp:
        return LifecycleMiddleware(build(), lifecycle)

    app.build_middleware_stack = build_with_lifecycle  # type: ignore[method-assign]
    app.state.dual_mode = lifecycle
    return lifecycle


def lifecycle_of(app: Starlette) -> Lifecycle:
    """The lifecycle of an app on which `install` was called. Raises RuntimeError for others."""
    if not hasattr(app.state, "dual_mode"):
        raise RuntimeError("this app has no lifecycle: call install(app) first")
    lifecycle: Lifecycle = app.state.dual_mode
    return lifecycle


async def drain(app: Starlette, over: float = 1.0) -> None:
    """End every open answer of the app, spread over so many seconds; see `Lifecycle.drain`."""
    await lifecycle_of(app).drain(over)


def end_at(request: HTTPConnection, when: float) -> None:
    """Let the answer to a request end at a time (Unix time, seconds): that of its credentials.

    To be called by a dependency that checks them; the earliest of several counts. A stream that is
    open then ends with an error of status 401, and without an end id, so that its reader comes
    again. Raises RuntimeError in an app without `install`, where nothing would end it.
    """
    if _KEY not in request.scope:
        raise RuntimeError("this app cannot end an answer: call install(app) first")
    exchange_of(request.scope).end_at(when)
