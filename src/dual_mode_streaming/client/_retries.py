"""Whether to send a request again: the failures in a row, and the temporary statuses."""

from typing import Final

import httpx

from dual_mode_streaming.client._policy import Reconnect
from dual_mode_streaming.client._requests import (
    Call,
    ResponseHead,
    is_foreign,
    retry_after,
    was_sent,
)
from dual_mode_streaming.sse import PASSING

_NOT_PROCESSED: Final = frozenset({429, 503})
"""Statuses that say, with a Retry-After, that the server did not act on the request."""


class Retries:
    """Counts the failures in a row, and sets the delay in seconds before the next attempt."""

    def __init__(self, policy: Reconnect) -> None:
        self.delay = 0.0
        self.failed = 0
        self._policy = policy

    def again(
        self, reason: str, *, retry: float | None = None, retry_after: float | None = None
    ) -> bool:
        """Count a failure. Return whether to try again, after `delay` seconds."""
        wait = self._policy.wait(self.failed + 1, retry=retry, retry_after=retry_after)
        if wait is None:
            return False
        self.failed += 1
        self.delay = wait
        if self._policy.on_wait is not None:
            self._policy.on_wait(wait, reason)
        return True

    def may_connect(self, error: httpx.HTTPError, *, reached: bool) -> bool:
        """Return whether another attempt makes sense after a failure of the connection."""
        never = not was_sent(error) or is_foreign(error)
        return reached or not never or self._policy.wait_for_server

    def after(self, call: Call, head: ResponseHead, *, retry: float | None = None) -> bool:
        """Do the same for an error status. Some are temporary; 404 and 410 never are."""
        seconds = retry_after(head.headers)
        if call.is_repeatable:
            may_pass = head.status in PASSING
        else:
            may_pass = head.status in _NOT_PROCESSED and seconds is not None
        return may_pass and self.again(f"status {head.status}", retry=retry, retry_after=seconds)
