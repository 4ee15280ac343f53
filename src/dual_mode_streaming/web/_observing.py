"""What is told of answers to those who look at an app from outside: metrics, traces, logs."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from starlette.types import Scope

from dual_mode_streaming.negotiation import ResponseMode
from dual_mode_streaming.running.owner import End, Owner
from dual_mode_streaming.web._problems import problem_of

__all__ = ["Answer", "Observer", "Observers", "StreamLog"]

_logger = logging.getLogger("dual_mode_streaming.streams")
_failures = logging.getLogger("dual_mode_streaming")


class Answer:
    """One answer of a generator, as far as it has come. Times are in seconds, sizes in bytes.

    Attributes:
        mode: how it is represented.
        scope: the request's ASGI scope.
        status: of the head that has left; known at the end, 0 if none has.
            Of an error that is raised, the status it stands for.
        items: how many have left, as events or lines; in a batch they leave together, uncounted.
        size: of the body that was sent, heartbeats and the end included.
        first: the time from the opening until the first items had been sent; None before.
        seconds: how long it was open; 0 while it is.
        end: why it ended: `done`, `failed`, or the name of an `End` in lower case; empty before.
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
        """Where an observer keeps what belongs to this answer, under a key of its own."""
        self._observers = observers
        self._opened = self._last = time.perf_counter()
        for opened in observers.opened:
            _tell(opened, self)

    @property
    def route(self) -> str:
        """The path as the app declares it, such as `/streams/{stream}`; never what a client made
        up, so that there are only so many."""
        return getattr(self.scope.get("route"), "path", "") or "unknown"

    @property
    def method(self) -> str:
        """The request's method."""
        method: str = self.scope["method"]
        return method

    def sent(self, items: int, size: int) -> None:
        """A send of the body is done; `items` have left in all, `size` bytes by this one."""
        self.size += size
        new = items - self.items
        if not new:
            return  # a heartbeat, or the end
        self.items = items
        observers = self._observers.sent
        if not observers and self.first is not None:
            return
        now = time.perf_counter()
        if self.first is None:
            self.first = now - self._opened
        gap, self._last = now - self._last, now
        for told in observers:
            try:
                told(self, new, gap)
            except Exception:
                _failures.exception("an observer failed: %r", told)

    def close(self, owner: Owner, status: int, error: BaseException | None) -> None:
        """It has ended, by itself, by an error, or as its owner says."""
        self.status = status or (0 if error is None else problem_of(error).status_code)
        self.seconds = time.perf_counter() - self._opened
        if owner.end is not None:
            self.end = owner.end.name.lower()
        else:
            self.end = "done" if error is None else "failed"
        for ended in self._observers.ended:
            _tell(ended, self)


class Observer:
    """Is told what becomes of the answers of an app; `install(app, observers=[…])`.

    Override what you want to hear of. All is called in the event loop, and must be quick: `sent` is
    called for each send. What an observer raises is logged, and touches no answer.
    """

    def opened(self, answer: Answer) -> None:
        """An answer is about to be made; its request was let in."""

    def sent(self, answer: Answer, items: int, gap: float) -> None:
        """So many items have left in one send, `gap` seconds after the send of items before it, or
        after the opening."""

    def ended(self, answer: Answer) -> None:
        """An answer has ended, its generator closed; `answer.end` says why."""

    def refused(self, scope: Scope, reason: str) -> None:
        """A request was not let in: `draining`, or the name of the limit that it met."""

    def stored(self, operation: str, seconds: float, failed: bool) -> None:
        """A call of a store has returned, or has failed."""


class Observers:
    """The observers of an app, by what they want to hear of."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        every = tuple(observers)
        for observer in every:
            if not isinstance(observer, Observer):
                raise TypeError(f"an observer is an instance of Observer, not {observer!r}")
        self.opened = _overridden(every, "opened")
        self.sent = _overridden(every, "sent")
        self.ended = _overridden(every, "ended")
        self.refused = _overridden(every, "refused")
        self.stored = _overridden(every, "stored")

    def refuse(self, scope: Scope, reason: str) -> None:
        """A request is not let in."""
        for refused in self.refused:
            _tell(refused, scope, reason)

    def store(self, operation: str, seconds: float, failed: bool) -> None:
        """A call of a store is over."""
        for stored in self.stored:
            _tell(stored, operation, seconds, failed)


_EXPECTED: Final = frozenset({"done", End.DISCONNECTED.name.lower(), End.DRAINING.name.lower()})


class StreamLog(Observer):
    """One line when a stream ends, and why; every app has it.

    The logger is `dual_mode_streaming.streams`, at INFO, or at WARNING where the end was neither
    the generator's, the reader's nor the server's own. The fields are in the record, too (`extra`).
    The path is the declared one: a query may hold what no log should.
    """

    def ended(self, answer: Answer) -> None:
        """Log it."""
        level = logging.INFO if answer.end in _EXPECTED else logging.WARNING
        if answer.mode is ResponseMode.BATCH or not _logger.isEnabledFor(level):
            return
        first = "none" if answer.first is None else f"{answer.first * 1000:.1f} ms"
        _logger.log(
            level,
            "%s %s %s ended: %s, %d items, %d bytes in %.3f s, the first after %s",
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


def _overridden(observers: tuple[Observer, ...], name: str) -> tuple[Callable[..., None], ...]:
    base = getattr(Observer, name)
    return tuple(
        getattr(observer, name) for observer in observers if getattr(type(observer), name) != base
    )


def _tell(told: Callable[..., None], *what: Any) -> None:
    try:
        told(*what)
    except Exception:
        _failures.exception("an observer failed: %r", told)
