"""What an app knows of its open answers: `install` it once, `drain` it at the end."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Unpack

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dual_mode_streaming.owner import End, Owner
from dual_mode_streaming.web.options import OptionOverrides, Options
from dual_mode_streaming.web.problems import vary_by_accept

__all__ = [
    "Exchange",
    "Lifecycle",
    "LifecycleMiddleware",
    "drain",
    "exchange_of",
    "lifecycle_of",
    "wrap",
]

_KEY = "dual_mode"


class Lifecycle:
    """The open answers of one app, and the defaults of its endpoints."""

    def __init__(self, defaults: OptionOverrides) -> None:
        Options.of(defaults)  # a bad one is told where it is given
        self.defaults = defaults
        self.draining = False
        self.open_answers: set[Owner] = set()

    async def drain(self) -> None:
        """End every open answer and wait until they are gone; new ones are refused with 503.

        Streams end with an error that has no end id, so that readers come again; a feed ends
        without one; a batch is a 503. A generator that does not end is abandoned (`Owner`).
        """
        self.draining = True
        while self.open_answers:
            for owner in self.open_answers:
                owner.stop(End.DRAINING)
            await asyncio.sleep(0.01)


class Exchange:
    """One request and its answer, as far as the app around it wants to know."""

    __slots__ = ("_drained", "_lifecycle", "_owner", "negotiated")

    def __init__(self, lifecycle: Lifecycle | None) -> None:
        self._lifecycle = lifecycle
        self._owner: Owner | None = None
        self._drained = False
        self.negotiated = False

    @property
    def defaults(self) -> OptionOverrides:
        """The app's own settings for its endpoints."""
        return {} if self._lifecycle is None else self._lifecycle.defaults

    @property
    def draining(self) -> bool:
        """The app, or this connection, takes no new answer."""
        return self._drained or (self._lifecycle is not None and self._lifecycle.draining)

    @contextmanager
    def open(self, owner: Owner) -> Iterator[None]:
        """The answer is open for as long as this lasts."""
        if self._lifecycle is None:
            yield
            return
        self._owner = owner
        answers = self._lifecycle.open_answers
        answers.add(owner)
        try:
            yield
        finally:
            answers.discard(owner)
            self._owner = None

    def drain(self) -> None:
        """End the answer, or refuse it if it has not begun: the server is shutting down."""
        self._drained = True
        if self._owner is not None:
            self._owner.stop(End.DRAINING)


def exchange_of(scope: Scope) -> Exchange:
    """The exchange that the app's `install` has put into the scope, or one without an app."""
    exchange = scope.get(_KEY)
    return exchange if isinstance(exchange, Exchange) else Exchange(None)


class LifecycleMiddleware:
    """The outermost layer of an app that is installed: it marks each request as the app's, and adds
    `Vary: Accept` to errors that were made after the negotiation by handlers that know nothing
    of it."""

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle) -> None:
        self._app = app
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _KEY in scope:
            return await self._app(scope, receive, send)
        scope[_KEY] = exchange = Exchange(self._lifecycle)

        async def send_with_vary(message: Message) -> None:
            if exchange.negotiated and message["type"] == "http.response.start":
                message.setdefault("headers", [])
                vary_by_accept(MutableHeaders(scope=message))
            await send(message)

        await self._app(scope, receive, send_with_vary)


def wrap(app: Starlette, **defaults: Unpack[OptionOverrides]) -> Lifecycle:
    """Put the lifecycle around everything of the app, its error handlers too; once.

    Raises RuntimeError if it is there already, or the app has begun to serve.
    """
    if hasattr(app.state, "dual_mode"):
        raise RuntimeError("install(app) was called on this app before; once is enough")
    if app.middleware_stack is not None:
        raise RuntimeError("install(app) must come before the app serves its first request")
    lifecycle = Lifecycle(defaults)
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


async def drain(app: Starlette) -> None:
    """End every open answer of the app; see `Lifecycle.drain`."""
    await lifecycle_of(app).drain()
