"""Every exception this package raises of its own accord.

The first question about an error is whose it is:

    DualModeError
    ├── PeerError            the other side sent something we cannot serve or read
    │   ├── NotAcceptable        an Accept header that names nothing we have (406)
    │   ├── EventTooLarge        an event above the decoder's cap
    │   └── AnswerError          what a client of ours could not have, or not whole
    │       ├── RequestRefused       a status that is no answer, with its problem
    │       ├── UnexpectedContent    an answer of another media type
    │       ├── UnreadableAnswer     JSON that is none, or not of the model
    │       ├── ConnectionFailed     no answer at all, as often as was allowed
    │       ├── StreamFailed         `event: error`: the server says that it could not go on
    │       └── StreamTruncated      a stream broke off before its end and could not be resumed
    │           └── StreamReset      the server has no more of what follows our cursor
    ├── ServingError         our side could not give a whole answer
    │   ├── BatchLimitExceeded   the batch answer would be too large or too slow
    │   ├── ItemTooLarge         one item of a stream is larger than it may be
    │   ├── StoreError           a store could not keep or give entries; it may be able to later
    │   │   └── StoreFull            a store is at its limits, and all of its streams are running
    │   └── BrokenTransfer       a response was cut on purpose, so that nobody takes it for whole
    └── StreamError          a stage of a pipeline could not go on
        ├── StreamOverflow       a bound was reached, and its policy was to fail
        └── SourceCancelled      a source was cancelled from within, or its producer was
    HTTPException            (Starlette's)
    └── Problem              a request is refused: the one way to say so, as an RFC 9457 problem
        └── TooMany              a limit of `Admission` is reached (503, 429)

Misuse by the caller of this package is a plain ValueError or TypeError where it happens.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

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
    """The root of this package's exceptions."""


class Problem(HTTPException):
    """A request is refused, or its answer cannot be completed: an RFC 9457 problem.

    Raise it anywhere. It is rendered in one place, as `application/problem+json`; a wire format of
    somebody else renders it in its own way.

    Args:
        status: the HTTP status code.
        detail: what is wrong, where, and what would be right. It is sent to the client.
        headers: extra headers of the response.
        retry_after: the time in seconds after which the client may try again; sent as
            `Retry-After`.
        param: the name of the field that is wrong, if it is one.
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
        sent = dict(headers or {})
        if retry_after is not None:
            sent["retry-after"] = f"{max(0.0, retry_after):g}"
        super().__init__(status, phrase_of(status) if detail is None else detail, sent or None)
        self.param = param
        self.code = code
        self.members = members
        self._detail = detail

    @property
    def body(self) -> dict[str, Any]:
        """The problem as a JSON object; its title is the phrase of the status."""
        status = self.status_code
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": phrase_of(status),
            "status": status,
        }
        said = {"detail": self._detail, "param": self.param, "code": self.code}
        return body | {name: value for name, value in said.items() if value} | self.members


def phrase_of(status: int) -> str:
    """The reason phrase of a status code (RFC 9110, section 15); "Error" for an unknown one."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


class PeerError(DualModeError):
    """The other side sent something that cannot be served or read."""


class NotAcceptable(PeerError):
    """No representation satisfies the Accept header (RFC 9110, section 15.5.7).

    `available` lists the media types that there are, in the server's order of preference.
    """

    status_code = 406

    def __init__(self, available: Sequence[str]) -> None:
        self.available = tuple(available)
        super().__init__(f"none of the accepted media types is available: {', '.join(available)}")


class EventTooLarge(PeerError):
    """An event grew past the decoder's cap before its blank line came.

    `limit` is the cap in bytes. The decoder that raised it is of no further use.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"an event is larger than the cap of {limit} bytes")


class AnswerError(PeerError):
    """A client could not have a server's answer, or not the whole of it.

    What a stream had given before is not lost: `count` says how many events had arrived, `events`
    are the newest of them (see the client's `keep`), `last_event_id` is where it could go on.
    """

    count: int = 0
    events: tuple[Any, ...] = ()
    last_event_id: str | None = None


class RequestRefused(AnswerError):
    """The server answered with a status that is no answer.

    `status` is the HTTP status; `problem` the RFC 9457 problem, or what other JSON object there
    was, else empty; `detail` what it says in words, else the first of the body; `retry_after` the
    seconds that the server asked to wait, if it did.
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
    """The answer is of another media type than was asked for.

    `content_type` is what its header says, `expected` what was asked for, `excerpt` how it begins.
    """

    def __init__(self, expected: str, content_type: str, excerpt: str) -> None:
        self.expected = expected
        self.content_type = content_type
        self.excerpt = excerpt
        told = content_type or "no content type"
        super().__init__(f"expected {expected}, but the answer is {told}: {excerpt[:200]!r}")


class UnreadableAnswer(AnswerError):
    """A document, or the data of an event, is not of the model; `text` is what came.

    `__cause__` is pydantic's ValidationError.
    """

    def __init__(self, what: str, text: str) -> None:
        self.text = text
        super().__init__(f"{what} is not of the model: {text[:200]!r}")


class ConnectionFailed(AnswerError):
    """No answer came, as often as was allowed to try; `__cause__` is the last failure."""


class StreamFailed(AnswerError):
    """The server told in the stream that it could not go on: `event: error`.

    `problem` is its RFC 9457 problem (empty if its data is no JSON object), `status` and `detail`
    are taken from it; `data` is the event's data as it came.
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

    `__cause__` is the failure of the connection, if it was not closed in good order.
    """


class StreamReset(StreamTruncated):
    """The server has no more of what follows our cursor: what it sends now is a new start.

    `reset` is what it says of that, as the JSON came; empty if that is no object.
    """

    def __init__(self, reset: Mapping[str, Any]) -> None:
        self.reset = reset
        reason = reset.get("reason")
        told = f": {reason}" if isinstance(reason, str) else ""
        super().__init__(f"the stream cannot be resumed, the server starts anew{told}")


class ServingError(DualModeError):
    """Our side could not give a whole answer."""


class BatchLimitExceeded(ServingError):
    """A batch answer passed one of its bounds: items, bytes or seconds.

    `bound` names which of the three, `limit` is its value.
    """

    def __init__(self, bound: str, limit: float) -> None:
        self.bound = bound
        self.limit = limit
        super().__init__(
            f"the batch answer exceeds {limit:g} {bound}; ask for it as a stream "
            "(Accept: text/event-stream or application/jsonl)"
        )


class ItemTooLarge(ServingError):
    """One item of an answer is larger than its endpoint may send; `limit` are bytes."""

    def __init__(self, size: int, limit: int) -> None:
        self.limit = limit
        super().__init__(f"an item of {size} bytes exceeds the {limit} that one may have")


class StoreError(ServingError):
    """A store could not keep or give entries. The same call may succeed later."""


class StoreFull(StoreError):
    """A store holds as many streams or bytes as it may, and all of its streams are running."""


class BrokenTransfer(ServingError):
    """A response was cut before its end, so that no client takes the part for the whole.

    Raised out of the ASGI application, because that is the one way to make every server close the
    connection without a final chunk. `__cause__` is what went wrong.
    """


class StreamError(DualModeError):
    """A stage of a pipeline could not go on."""


class StreamOverflow(StreamError):
    """A bound was reached, and the policy was to fail rather than to wait or to drop."""


class SourceCancelled(StreamError):
    """A source let a CancelledError out that nobody had sent it: its items are not whole.

    That happens when it awaits something that was cancelled elsewhere. As a CancelledError it would
    cancel the reader, who has done nothing, or pass for an end that was asked for.
    """

    def __init__(self, message: str = "a source was cancelled before its end") -> None:
        super().__init__(message)
