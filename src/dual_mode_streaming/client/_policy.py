"""What a caller decides about a stream: how a server ends one, and how often to come again."""

import random
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["DUAL_MODE", "FOREIGN", "WHATWG", "Dialect", "Reconnect"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a server uses event names, and what its closing the connection means.

    Attributes:
        end_events: names of events that end the stream; they are not given as events.
        error_event: the name of an event that ends it as a failure; None if there is none.
        reset_event: the name of an event that says that our cursor could not be honoured.
        end_data: an unnamed event with just this data ends the stream (OpenAI's `[DONE]`).
        eof: what a connection means that was closed in good order without an end event:
            "truncated", it broke off; "end", it is the end; "reconnect", come again (WHATWG).
        recorded: streams have a `Location`, ids are `<epoch>.<generation>.<sequence>`, and events
            that are not newer than the last are dropped.
    """

    end_events: frozenset[str] = frozenset()
    error_event: str | None = None
    reset_event: str | None = None
    end_data: str | None = None
    eof: Literal["truncated", "end", "reconnect"] = "end"
    recorded: bool = False


DUAL_MODE: Final = Dialect(
    end_events=frozenset({"done", "cancelled", "interrupted"}),
    error_event="error",
    reset_event="reset",
    eof="truncated",
    recorded=True,
)
"""A server of this package."""

FOREIGN: Final = Dialect(eof="end")
"""Any server that closes the connection when all is said; no event name has a meaning."""

WHATWG: Final = Dialect(eof="reconnect")
"""What an EventSource does: it comes again until it is closed or answered 204."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnect:
    """How often, and after how long, to come again when a connection fails or is cut.

    Attributes:
        attempts: so many in a row without a new event; then the client gives up. 0 is never. A
            connection that lasted for `max_wait` counts as one that worked.
        delay: seconds before the first of them, until the server tells a `retry` of its own. It
            doubles with each further one.
        max_wait: the longest wait in seconds before the jitter. A server that asks for more (by
            `retry` or `Retry-After`) is not asked again.
        jitter: each wait is longer by a random part of up to this share of it, so that clients that
            were cut at once do not return at once. It is never shorter than the server asked for.

    Raises ValueError for a value out of range.
    """

    attempts: int = 5
    delay: float = 1.0
    max_wait: float = 30.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        for name in ("attempts", "delay", "max_wait", "jitter"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be a number from 0, not {getattr(self, name)!r}")

    def wait(
        self, attempt: int, *, told: float | None = None, asked: float | None = None
    ) -> float | None:
        """Seconds to wait before that attempt, the first being 1; None to give up.

        `told` is the server's reconnection time, `asked` its Retry-After, both in seconds.
        """
        base = self.delay if told is None else told
        if attempt > self.attempts or max(told or 0.0, asked or 0.0) > self.max_wait:
            return None
        if attempt > 1:  # `retry: 0` is for the first return, not for a loop
            base = min(max(base, 0.1) * 2.0 ** min(attempt - 1, 32), max(base, self.max_wait))
        wait = max(base, asked or 0.0)
        return wait + wait * self.jitter * random.random()  # noqa: S311  (no secret hangs on it)
