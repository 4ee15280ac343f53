"""The exceptions of the package.

They are sorted by the side that failed: the peer, this side, or a stage in between.

    DualModeError
    ├── PeerError            the other side sent something that cannot be served or read
    │   ├── NotAcceptable        no media type of the Accept header is available (406)
    │   ├── EventTooLarge        an event is larger than the decoder accepts
    │   └── AnswerError          a client did not receive an answer, or not all of it
    │       ├── RequestRefused       the server answered with an error status
    │       ├── UnexpectedContent    the answer has another media type
    │       ├── UnreadableAnswer     the answer is not JSON, or does not fit the model
    │       ├── ConnectionFailed     no answer arrived, after all retries
    │       ├── StreamFailed         the server sent `event: error`
    │       └── StreamTruncated      a stream broke off and could not be resumed
    │           └── StreamReset      the server no longer has what follows the cursor
    ├── ServingError         this side could not give a whole answer
    │   ├── BatchLimitExceeded   a batch answer is too large or takes too long
    │   ├── ItemTooLarge         one item of a stream is too large
    │   ├── StoreError           a store failed; the same call may succeed later
    │   │   └── StoreFull            a store is at its limits, and all its streams are running
    │   └── BrokenTransfer       a response is cut, so that no client takes it as complete
    ├── StreamError          a stage of a pipeline failed
    │   ├── StreamOverflow       a bound was reached, and its policy is to fail
    │   ├── SourceCancelled      a source was cancelled from within
    │   └── SourceExited         a source raised what is no Exception, such as SystemExit
    └── ProviderError        a model provider failed (`llm`)
    HTTPException            (Starlette's)
    └── Problem              a request is refused, with an RFC 9457 problem
        ├── ChannelClosed        nothing can be published any more: 409 (`channels`)
        ├── StreamGone           a recorded stream was deleted or has expired: 410 (`recordings`)
        └── TooMany              a limit is reached: 429 or 503 (`limits`)

A name in parentheses is the package that exports the exception; all others are in this module.
Wrong use of the package is a plain ValueError or TypeError where it happens.
"""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException

__all__ = [
    "AnswerError",
    "BatchLimitExceeded",
    "BrokenTransfer",
    "ConnectionFailed",
    "DualModeError",
    "EventTooLarge",
    "ItemTooLarge",
    "NotAcceptable",
    "PeerError",
    "Problem",
    "RequestRefused",
    "ServingError",
    "SourceCancelled",
    "SourceExited",
    "StoreError",
    "StoreFull",
    "StreamError",
    "StreamFailed",
    "StreamOverflow",
    "StreamReset",
    "StreamTruncated",
    "UnexpectedContent",
    "UnreadableAnswer",
    "phrase_of",
]


class DualModeError(Exception):
    """The base class of the package's exceptions, except `Problem`."""


class Problem(HTTPException):
    """A request is refused, or its answer cannot be completed: an RFC 9457 problem.

    Raise it anywhere. It is rendered in one place, as `application/problem+json`. A foreign wire
    format renders it as its own kind of error.

    Args:
        status: the HTTP status code.
        detail: what is wrong, where, and what would be right. It is sent to the client.
        headers: additional headers of the response. Pass Starlette's `Headers` to send one twice.
        retry_after: the time in seconds after which the client may try again. It is sent as
            `Retry-After`, in whole seconds (RFC 9110, section 10.2.3).
        param: the name of the field that is wrong, if the error is about one.
        code: a short name of the error, for wire formats that have one.
        members: extension members of the problem (RFC 9457, section 3.2).
    """

    def __init__(
        self,
        status: int,
        detail: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        param: str | None = None,
        code: str | None = None,
        **members: Any,
    ) -> None:
        sent: dict[str, str] | MutableHeaders = dict(headers or {})
        if isinstance(headers, Headers):  # which may have a header twice
            sent = MutableHeaders(raw=list(headers.raw))
        if retry_after is not None:
            sent["retry-after"] = str(max(0, math.ceil(retry_after)))
        super().__init__(status, phrase_of(status) if detail is None else detail, sent or None)
        self.param = param
        self.code = code
        self.members = members
        self._detail = detail

    @property
    def body(self) -> dict[str, Any]:
        """The problem as a JSON object. Its title is the reason phrase of the status."""
        status = self.status_code
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": phrase_of(status),
            "status": status,
        }
        optional = {"detail": self._detail, "param": self.param, "code": self.code}
        return body | {name: value for name, value in optional.items() if value} | self.members


def phrase_of(status: int) -> str:
    """Return the reason phrase of a status code (RFC 9110, section 15), or "Error" for others."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


class PeerError(DualModeError):
    """The other side sent something that cannot be served or read."""


class NotAcceptable(PeerError):
    """No available media type satisfies the Accept header (RFC 9110, section 15.5.7).

    Attributes:
        available: the available media types, in the server's order of preference.
    """

    status_code = 406

    def __init__(self, available: Sequence[str]) -> None:
        self.available = tuple(available)
        super().__init__(f"none of the accepted media types is available: {', '.join(available)}")


class EventTooLarge(PeerError):
    """An event is larger than the decoder accepts. The decoder cannot be used any further.

    Attributes:
        limit: the largest size, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"an event is larger than the limit of {limit} bytes")


class AnswerError(PeerError):
    """A client did not receive a server's answer, or not all of it.

    Attributes:
        count: the number of events that arrived before.
        events: the newest of these events; the client's `keep` sets how many.
        last_event_id: the cursor from which the stream could be continued; None if there is none.
    """

    count: int = 0
    events: tuple[Any, ...] = ()
    last_event_id: str | None = None


class RequestRefused(AnswerError):
    """The server answered with an error status.

    Attributes:
        status: the HTTP status code.
        detail: the explanation in the problem, or the beginning of the body.
        problem: the RFC 9457 problem, or another JSON object that was the body; else empty.
        retry_after: the time in seconds that the server asks to wait; None if it does not.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        problem: Mapping[str, Any],
        retry_after: float | None = None,
    ) -> None:
        self.status = status
        self.detail = detail
        self.problem = problem
        self.retry_after = retry_after
        super().__init__(f"the server answered {status}" + (f": {detail}" if detail else ""))


class UnexpectedContent(AnswerError):
    """The answer does not have the requested media type.

    Attributes:
        expected: the requested media type.
        content_type: the Content-Type header of the answer; empty if there is none.
        excerpt: the beginning of the body.
    """

    def __init__(self, expected: str, content_type: str, excerpt: str) -> None:
        self.expected = expected
        self.content_type = content_type
        self.excerpt = excerpt
        actual = content_type or "no content type"
        super().__init__(f"expected {expected}, but the answer is {actual}: {excerpt[:200]!r}")


class UnreadableAnswer(AnswerError):
    """A document, or the data of an event, does not fit the model.

    `__cause__` is pydantic's ValidationError.

    Attributes:
        text: the text as it arrived.
    """

    def __init__(self, what: str, text: str) -> None:
        self.text = text
        super().__init__(f"{what} does not fit the model: {text[:200]!r}")


class ConnectionFailed(AnswerError):
    """No answer arrived, after all retries. `__cause__` is the last failure."""


class StreamFailed(AnswerError):
    """The server sent `event: error`: it could not complete the stream.

    Attributes:
        data: the data of the event, as it arrived.
        problem: the RFC 9457 problem in it; empty if the data is not a JSON object.
        status: the status of the problem; None if it has none.
        detail: the explanation in the problem, or the beginning of the data.
    """

    def __init__(self, data: str, problem: Mapping[str, Any]) -> None:
        self.data = data
        self.problem = problem
        status, detail = problem.get("status"), problem.get("detail") or problem.get("title")
        self.status: int | None = status if type(status) is int else None
        self.detail = detail if isinstance(detail, str) else data[:200]
        super().__init__(f"the stream failed: {self.detail}")


class StreamTruncated(AnswerError):
    """A stream broke off before its end and could not be resumed.

    `__cause__` is the failure of the connection, if there was one.
    """


class StreamReset(StreamTruncated):
    """The server no longer has what follows the cursor, and starts the stream anew.

    Attributes:
        reset: the data of the `reset` event; empty if it is not a JSON object.
    """

    def __init__(self, reset: Mapping[str, Any]) -> None:
        self.reset = reset
        reason = reset.get("reason")
        why = f": {reason}" if isinstance(reason, str) else ""
        super().__init__(f"the stream cannot be resumed, the server starts anew{why}")


class ServingError(DualModeError):
    """This side could not give a whole answer."""


class BatchLimitExceeded(ServingError):
    """A batch answer exceeded one of its limits.

    Attributes:
        bound: the limit that was exceeded: "items", "bytes" or "seconds".
        limit: its value.
    """

    def __init__(self, bound: str, limit: float) -> None:
        self.bound = bound
        self.limit = limit
        super().__init__(
            f"the batch answer exceeds {limit:g} {bound}; ask for it as a stream "
            "(Accept: text/event-stream or application/jsonl)"
        )


class ItemTooLarge(ServingError):
    """One item is larger than its endpoint may send (`Options.event_bytes`).

    Attributes:
        limit: the largest size, in bytes.
    """

    def __init__(self, size: int, limit: int) -> None:
        self.limit = limit
        super().__init__(f"an item of {size} bytes exceeds the {limit} bytes that are allowed")


class StoreError(ServingError):
    """A store failed to write or read. The same call may succeed later."""


class StoreFull(StoreError):
    """A store is at its limit of streams or bytes, and all its streams are running."""


class BrokenTransfer(ServingError):
    """A response is cut before its end, so that no client takes it as complete.

    It is raised out of the ASGI application, since only this makes every server close the
    connection without a final chunk. `__cause__` is the reason.
    """


class StreamError(DualModeError):
    """A stage of a pipeline failed."""


class StreamOverflow(StreamError):
    """A bound was reached, and the policy is to fail rather than to wait or to drop items."""


class SourceCancelled(StreamError):
    """A source raised a CancelledError although nobody had cancelled it: it is incomplete."""

    def __init__(self, message: str = "a source was cancelled before its end") -> None:
        super().__init__(message)


class SourceExited(StreamError):
    """A source raised what is no Exception, such as SystemExit; that is its cause."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(f"a source raised {type(cause).__name__}")
