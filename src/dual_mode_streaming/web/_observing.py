"""Observers of the answers of an app: for metrics, traces and logs."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.types import Scope

from dual_mode_streaming.negotiation import ResponseMode
from dual_mode_streaming.running.owner import End, Owner, logger
from dual_mode_streaming.web._problems import problem_of

_stream_logger = logging.getLogger("dual_mode_streaming.streams")


class Answer:
    """One answer of a generator, and its progress. Times are in seconds, sizes in bytes.

    Attributes:
        mode: the representation.
        scope: the ASGI scope of the request.
        status: the status that was sent, or that of the error that was raised; set at the end. 0 if
            there was none.
        items: the number of items sent as events or lines; in a batch they are not counted.
        size: the size of the body sent so far, with heartbeats and the end.
        first: the time from the opening until the first items were sent; None before.
        seconds: the time that the answer was open; 0 before its end.
        end: how it ended: `done`, `failed`, `refused`, or the name of an `End` in lower case; empty
            before. It is `refused` if the endpoint raised an HTTPException below 500 before the
            headers were sent; one of 500 or more is `failed`.
        context: where an observer keeps its own data of this answer, under a key of its own.
    """

    __slots__ = (
        "_last",
        "_observers",
        "_opened",
        "context",
        "end",
        "first",
        "items",
        "mode",
        "scope",
        "seconds",
        "size",
        "status",
    )

    def __init__(self, mode: ResponseMode, scope: Scope, observers: "Observers") -> None:
        self.mode = mode
        self.scope = scope
        self.status = 0
        self.items = 0
        self.size = 0
        self.first: float | None = None
        self.seconds = 0.0
        self.end = ""
        self.context: dict[object, Any] = {}
        self._observers = observers
        self._opened = self._last = time.perf_counter()
        observers.notify("opened", self)

    @property
    def route(self) -> str:
        """The path as the app declares it, such as `/streams/{stream}`.

        It never contains what a client sent, so the number of different values is limited.
        """
        return getattr(self.scope.get("route"), "path", "") or "unknown"

    @property
    def method(self) -> str:
        """The method of the request."""
        method: str = self.scope["method"]
        return method

    def sent(self, items: int, size: int) -> None:
        """Note a send of the body.

        Args:
            items: the number of items sent so far, with those of this send.
            size: the size of this send.
        """
        self.size += size
        new = items - self.items
        if not new:
            return  # a heartbeat, or the end
        self.items = items
        observed = self._observers.has("sent")
        if not observed and self.first is not None:
            return
        now = time.perf_counter()
        if self.first is None:
            self.first = now - self._opened
        gap, self._last = now - self._last, now
        if observed:
            self._observers.notify("sent", self, new, gap)

    def close(self, owner: Owner, status: int, error: BaseException | None) -> None:
        """Note the end: by itself, by an error, or for the reason of its owner."""
        self.status = status or (0 if error is None else problem_of(error).status_code)
        self.seconds = time.perf_counter() - self._opened
        if owner.end is not None:
            self.end = owner.end.name.lower()
        else:
            self.end = "done" if error is None else "failed"
            if not status and isinstance(error, HTTPException) and error.status_code < 500:
                self.end = "refused"
        self._observers.notify("ended", self)


class Observer:
    """The base class of observers of an app's answers: `install(app, observers=[...])`.

    Override the methods that you need. All are called in the event loop and must be quick; `sent`
    is called for each send. An exception that one raises is logged and does not affect the answer.
    """

    def opened(self, answer: Answer) -> None:
        """An answer begins; its request was admitted."""

    def sent(self, answer: Answer, items: int, gap: float) -> None:
        """Items were sent.

        Args:
            answer: the answer.
            items: the number of items in this send.
            gap: the time in seconds since the previous send of items, or since the opening.
        """

    def ended(self, answer: Answer) -> None:
        """An answer has ended and its generator is closed. `answer.end` is the reason."""

    def refused(self, scope: Scope, reason: str) -> None:
        """A request was not admitted; `reason` is `draining` or the name of the limit."""

    def stored(self, operation: str, seconds: float, failed: bool) -> None:
        """A call of a store has returned or failed after `seconds`."""


_METHODS: Final = ("opened", "sent", "ended", "refused", "stored")


class Observers:
    """The observers of an app. Only methods that they override are called.

    Raises:
        TypeError: one is not an instance of Observer.
    """

    def __init__(self, observers: Iterable[Observer]) -> None:
        self.members = tuple(observers)
        self._callbacks: dict[str, list[Callable[..., None]]] = {name: [] for name in _METHODS}
        for observer in self.members:
            if not isinstance(observer, Observer):
                raise TypeError(f"an observer is an instance of Observer, not {observer!r}")
            for name, callbacks in self._callbacks.items():
                if getattr(type(observer), name) != getattr(Observer, name):
                    callbacks.append(getattr(observer, name))

    def has(self, method: str) -> bool:
        """Whether an observer overrides this method."""
        return bool(self._callbacks[method])

    def notify(self, method: str, *arguments: Any) -> None:
        """Call this method of all observers."""
        for callback in self._callbacks[method]:
            try:
                callback(*arguments)
            except Exception:
                logger.exception("an observer failed: %r", callback)


_EXPECTED: Final = frozenset(
    {"done", "refused", End.DISCONNECTED.name.lower(), End.DRAINING.name.lower()}
)


class StreamLog(Observer):
    """Log one line when a stream ends, with the reason. Every app has this observer.

    The logger is `dual_mode_streaming.streams`. The level is INFO if the generator, the client or a
    shutdown ended the stream, else WARNING. The record has the fields too (`extra`). The path is
    the declared one, since a query may contain secrets.
    """

    def ended(self, answer: Answer) -> None:
        """Log the end of a stream."""
        level = logging.INFO if answer.end in _EXPECTED else logging.WARNING
        if answer.mode is ResponseMode.BATCH or not _stream_logger.isEnabledFor(level):
            return
        first = "" if answer.first is None else f", first item after {answer.first * 1000:.1f} ms"
        _stream_logger.log(
            level,
            "%s %s %s ended: %s, %d items, %d bytes in %.3f s%s",
            answer.method,
            answer.route,
            answer.mode.name.lower(),
            answer.end,
            answer.items,
            answer.size,
            answer.seconds,
            first,
            extra={
                "method": answer.method,
                "route": answer.route,
                "mode": answer.mode.name.lower(),
                "status": answer.status,
                "end": answer.end,
                "items": answer.items,
                "bytes": answer.size,
                "seconds": round(answer.seconds, 6),
                "first_seconds": answer.first,
            },
        )


STREAM_LOG: Final = StreamLog()
"""The one that all apps have."""
