"""Whether to send a request again: the failures in a row, and the temporary statuses."""

from typing import Final

from dual_mode_streaming.client._policy import Reconnect
from dual_mode_streaming.client._requests import Call, ResponseHead, retry_after

_NOT_PROCESSED: Final = frozenset({429, 503})
"""Statuses that say, with a Retry-After, that the server did not act on the request."""
_TEMPORARY: Final = _NOT_PROCESSED | {502, 504}
"""Statuses after which a repeatable request is sent again."""


class Retries:
    """Counts the failures in a row, and sets the delay in seconds before the next attempt."""

    def __init__(self, policy: Reconnect) -> None:
        self.delay = 0.0
        self.failed = 0
        self._policy = policy

    def again(self, *, retry: float | None = None, retry_after: float | None = None) -> bool:
        """Count a failure. Return whether to try again, after `delay` seconds."""
        wait = self._policy.wait(self.failed + 1, retry=retry, retry_after=retry_after)
        if wait is None:
            return False
        self.failed += 1
        self.delay = wait
        return True

    def after(self, call: Call, head: ResponseHead, *, retry: float | None = None) -> bool:
        """Do the same for an error status. Some are temporary; 404 and 410 never are."""
        seconds = retry_after(head.headers)
        if call.is_repeatable:
            may_pass = head.status in _TEMPORARY
        else:
            may_pass = head.status in _NOT_PROCESSED and seconds is not None
        return may_pass and self.again(retry=retry, retry_after=seconds)
