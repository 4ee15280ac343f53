"""The protocol of a batch request, without I/O: the retries, and the JSON read as a model."""

from collections.abc import Callable
from typing import Any

import httpx

from dual_mode_streaming.client._policy import Reconnect
from dual_mode_streaming.client._requests import (
    Call,
    ResponseHead,
    is_cut,
    media_type,
    no_answer,
    reason_of,
    refusal,
    retry_after,
    was_sent,
)
from dual_mode_streaming.client._retries import Retries
from dual_mode_streaming.client._steps import RECEIVE_ALL, Send, Steps, Wait
from dual_mode_streaming.errors import ConnectionFailed, UnexpectedContent


class BatchRequest:
    """One request for a whole document; `read` makes the result of the JSON text.

    With `optional`, an answer to a POST and its kin may be empty.
    """

    def __init__(
        self, call: Call, read: Callable[[str], Any], *, policy: Reconnect, optional: bool = True
    ) -> None:
        self.result: Any = None
        """The document; None for a response without content."""
        self._call = call
        self._read = read
        self._retries = Retries(policy)
        self._may_be_empty = optional and call.method.upper() not in ("GET", "QUERY")

    def steps(self) -> Steps[Any]:
        """Yield the I/O to perform, until there is a result; raise as `DualModeClient.request`."""
        done = reached = False
        while not done:
            if self._retries.delay:
                yield Wait(self._retries.delay)
            try:
                head: ResponseHead = yield Send(self._call)
                body: bytes = yield RECEIVE_ALL
            except httpx.HTTPError as error:
                if not is_cut(error):
                    raise
                repeatable = self._call.is_repeatable or not was_sent(error)
                repeatable = repeatable and self._retries.may_connect(error, reached=reached)
                if not repeatable or not self._retries.again(reason_of(error)):
                    raise ConnectionFailed(no_answer(self._call, error)) from error
            else:
                reached = True
                done = self._take(head, body)

    def _take(self, head: ResponseHead, body: bytes) -> bool:
        """Take the result from a response. Return False to send the request again."""
        seconds = retry_after(head.headers)
        # The response of a recorded stream that still runs; requested again within the bound.
        running = head.status == 202 and seconds is not None and self._call.is_safe
        if running or not head.is_success:
            if running and self._retries.again("the answer is not complete", retry_after=seconds):
                return False
            if not running and self._retries.after(self._call, head):
                return False
            raise refusal(head, body)
        if head.status in (204, 205) or (not body and self._may_be_empty):
            return True
        kind = media_type(head.headers)
        text = body.decode("utf-8", "replace")
        if kind != "application/json" and not kind.endswith("+json"):
            content_type = head.headers.get("content-type", "")
            raise UnexpectedContent("application/json", content_type, text)
        self.result = self._read(text)
        return True
