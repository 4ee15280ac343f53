"""What a caller decides about a stream: how the server ends it, and when to reconnect."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from dual_mode_streaming.sse import END_STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The meaning a server gives to event names, and to the end of the connection.

    Attributes:
        end_events: names of events that end the stream. They are not given to the caller.
        error_event: the name of the event that ends the stream as a failure; None for no such name.
        reset_event: the name of the event that says that the server cannot resume at our position.
        end_data: data of an unnamed event that ends the stream (OpenAI's `[DONE]`).
        eof: the meaning of a clean end of the connection without an end event: "truncated", the
            stream broke off; "end", it is complete; "reconnect", connect again (WHATWG).
        recorded: streams have a `Location` and IDs `<stream>.<generation>.<sequence>`; events that
            are not newer than the last one are dropped.
        only_200: any other status is an error, those of success too; 204 ends the stream.
    """

    end_events: frozenset[str] = frozenset()
    error_event: str | None = None
    reset_event: str | None = None
    end_data: str | None = None
    eof: Literal["truncated", "end", "reconnect"] = "end"
    recorded: bool = False
    only_200: bool = False


DUAL_MODE: Final = Dialect(
    end_events=END_STATES - {"error"},
    error_event="error",
    reset_event="reset",
    eof="truncated",
    recorded=True,
)
"""A server of this package."""

FOREIGN: Final = Dialect(eof="end")
"""A server that closes the connection at the end of a stream; no event name has a meaning."""

WHATWG: Final = Dialect(eof="reconnect", only_200=True)
"""What an EventSource does: it takes status 200, and reconnects until it is closed or the answer is
204."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnect:
    """How often to reconnect when a connection fails or is cut, and how long to wait before.

    Attributes:
        attempts: maximum number of attempts in a row without a new event; 0 for none. A connection
            that lasted `max_wait` seconds counts as a success.
        delay: seconds before the first attempt, unless the server sends a `retry`. The delay
            doubles with each further attempt.
        max_wait: the longest wait in seconds, before the jitter. If the server asks for more (by
            `retry` or `Retry-After`), the client gives up.
        jitter: the maximum random part that is added to a wait, as a share of it, so that clients
            that were cut together do not return together.
        wait_for_server: whether to try again, too, if the server has never answered and no
            connection can be made (an unknown host, a refused connection, an error of TLS). By
            default this is an error at once, since it is mostly a wrong address.
        on_wait: called before each wait with its seconds and the reason, for a user who waits.

    Raises:
        ValueError: if a value is negative or not finite.
    """

    attempts: int = 5
    delay: float = 1.0
    max_wait: float = 30.0
    jitter: float = 0.5
    wait_for_server: bool = False
    on_wait: Callable[[float, str], object] | None = None

    def __post_init__(self) -> None:
        for name in ("attempts", "delay", "max_wait", "jitter"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be a number from 0, not {getattr(self, name)!r}")

    def wait(
        self, attempt: int, *, retry: float | None = None, retry_after: float | None = None
    ) -> float | None:
        """Return the seconds to wait before an attempt; None to give up.

        Args:
            attempt: the number of the attempt; the first is 1.
            retry: the server's reconnection time (WHATWG, 9.2.6) in seconds.
            retry_after: the server's Retry-After in seconds.
        """
        base = self.delay if retry is None else retry
        if attempt > self.attempts or max(retry or 0.0, retry_after or 0.0) > self.max_wait:
            return None
        if attempt > 1:  # `retry: 0` holds for the first attempt only
            base = min(max(base, 0.1) * 2.0 ** min(attempt - 1, 32), max(base, self.max_wait))
        wait = max(base, retry_after or 0.0)
        return wait + wait * self.jitter * random.random()  # noqa: S311  (not used as a secret)
