"""Whether to ask once more: the count of failures in a row, and which of them may pass."""

from typing import Final

from dual_mode_streaming.client._calls import Call, Head, retry_after
from dual_mode_streaming.client._policy import Reconnect

__all__ = ["Retries"]

_REFUSED: Final = frozenset({429, 503})
"""Statuses of a request that was not acted upon, for now."""
_PASSING: Final = _REFUSED | {502, 504}
"""Statuses that may be another at the next time, if a request may be repeated at all."""


class Retries:
    """How often in a row it has failed, and how long to wait before the next attempt."""

    def __init__(self, policy: Reconnect) -> None:
        self.delay = 0.0
        self.failed = 0
        self._policy = policy

    def again(self, *, told: float | None = None, asked: float | None = None) -> bool:
        """Count a failure; whether there is to be another attempt, after `delay` seconds."""
        wait = self._policy.wait(self.failed + 1, told=told, asked=asked)
        if wait is None:
            return False
        self.failed += 1
        self.delay = wait
        return True

    def after(self, call: Call, head: Head, *, told: float | None = None) -> bool:
        """The same for an answer that is none: only some statuses pass, 404 and 410 never do."""
        asked = retry_after(head.headers)
        passing = _PASSING if call.may_be_repeated else _REFUSED if asked is not None else ()
        return head.status in passing and self.again(told=told, asked=asked)
