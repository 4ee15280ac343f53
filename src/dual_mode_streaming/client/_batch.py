"""One whole answer, without I/O: the same retries as a stream has, and JSON read as a model."""

from collections.abc import Callable
from typing import Any

from dual_mode_streaming.client._calls import Call, Head, media_type, refusal, retry_after
from dual_mode_streaming.client._policy import Reconnect
from dual_mode_streaming.client._retries import Retries
from dual_mode_streaming.errors import ConnectionFailed, UnexpectedContent

__all__ = ["Batch"]


class Batch:
    """The state of one request: send `call` after `delay` seconds, until it is `done` or raises.

    `read` makes the `result` of the JSON text; it is None for an answer without content.
    """

    def __init__(self, call: Call, read: Callable[[str], Any], *, policy: Reconnect) -> None:
        self.call = call
        self.done = False
        self.result: Any = None
        self._read = read
        self._retries = Retries(policy)

    @property
    def delay(self) -> float:
        """Seconds to wait before the next attempt."""
        return self._retries.delay

    def on_answer(self, head: Head, body: bytes) -> None:
        """An answer came whole: take it, come again, or raise why not.

        Raises RequestRefused, UnexpectedContent and UnreadableAnswer. A 202 with Retry-After, the
        answer of a recorded stream that still runs, is asked for again within the bound.
        """
        asked = retry_after(head.headers)
        not_yet = head.status == 202 and asked is not None and self.call.is_safe
        if not_yet and self._retries.again(asked=asked):
            return
        if not head.is_success or not_yet:
            if not_yet or not self._retries.after(self.call, head):
                raise refusal(head, body)
            return
        self.done = True
        if head.status in (204, 205):
            return
        kind = media_type(head.headers)
        text = body.decode("utf-8", "replace")
        if kind != "application/json" and not kind.endswith("+json"):
            told = head.headers.get("content-type", "")
            raise UnexpectedContent("application/json", told, text)
        self.result = self._read(text)

    def on_cut(self, error: Exception, *, sent: bool) -> None:
        """The connection failed: come again, or raise ConnectionFailed."""
        if (sent and not self.call.may_be_repeated) or not self._retries.again():
            raise ConnectionFailed("no answer came from the server") from error
