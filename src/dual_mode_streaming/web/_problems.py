"""RFC 9457 problems: what a client is told of a failure, which is never its traceback."""

from http import HTTPStatus
from typing import Any, Final

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dual_mode_streaming.errors import (
    BatchLimitExceeded,
    ItemTooLarge,
    NotAcceptable,
    StreamOverflow,
)
from dual_mode_streaming.running.owner import End, logger
from dual_mode_streaming.sse import dumps
from dual_mode_streaming.stores._base import StoreError, StoreFull

__all__ = [
    "ECHOED",
    "MEDIA_TYPE",
    "NOBODY",
    "problem",
    "problem_of",
    "problem_response",
    "refusal_of",
    "refuse",
    "store_failed",
    "vary_by_accept",
]

MEDIA_TYPE: Final = "application/problem+json"

ECHOED: Final = 200
"""So many characters of what a client sent are told back to it."""


NOBODY: Final = Response(status_code=499)
"""The answer to a client that has left before it got one: no server delivers it, and middlewares
that expect some answer have theirs. nginx logs such requests with that status."""


def problem(status: int, detail: str | None = None, **members: Any) -> dict[str, Any]:
    """A problem of the default type, its title the status' phrase; `members` are extensions."""
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status}
    if detail is not None:
        body["detail"] = detail
    return body | members


def problem_of(error: BaseException) -> dict[str, Any]:
    """What a client may know of `error`.

    An HTTPException says its status and detail, our own errors say what they are; anything else is
    a bare 500, since its text may hold what is nobody's business.
    """
    if isinstance(error, HTTPException):
        detail: object = error.detail  # FastAPI's may be anything
        if isinstance(detail, str):
            return problem(error.status_code, detail)
        return problem(error.status_code, None, errors=detail)
    if isinstance(error, NotAcceptable):
        return problem(error.status_code, str(error), available=error.available)
    if isinstance(error, BatchLimitExceeded):
        return problem(504 if error.bound == "seconds" else 413, str(error), bound=error.bound)
    if isinstance(error, ItemTooLarge):
        return problem(500, str(error), bound="event_bytes")
    if isinstance(error, (StoreFull, StreamOverflow)):
        return problem(503, str(error))
    if isinstance(error, StoreError):  # its text may name addresses
        return problem(503, "the store does not answer; come again")
    return problem(500, "The answer could not be completed.")


def refusal_of(end: End) -> HTTPException:
    """What an answer is that has been ended before it began."""
    if end is End.EXPIRED:
        told = {"WWW-Authenticate": 'Bearer error="invalid_token"'}  # RFC 6750, 3.1
        return HTTPException(401, f"{end.value}; come again with new ones", told)
    return HTTPException(503, f"{end.value}; come again", {"Retry-After": "1"})


def problem_response(body: dict[str, Any]) -> Response:
    """The problem as a response of its own, with its status and `Vary: Accept`."""
    response = Response(dumps(body), status_code=body["status"], media_type=MEDIA_TYPE)
    vary_by_accept(response.headers)
    return response


def refuse(status: int, detail: str, *, retry_after: int | None = None) -> Response:
    """A problem as a response, with a pause in seconds before the client comes again, if any."""
    response = problem_response(problem(status, detail[:ECHOED]))
    if retry_after is not None:
        response.headers["retry-after"] = str(retry_after)
    return response


def store_failed(error: StoreError) -> Response:
    """A failure of the store as a response; what the store says goes to the log."""
    logger.error("the store failed: %s", error)
    told = problem_of(error)
    return refuse(told["status"], told["detail"], retry_after=1)


def vary_by_accept(headers: MutableHeaders) -> None:
    """Let the headers say that another Accept may have had another answer (RFC 9110, 12.5.5)."""
    if (b"vary", b"Accept") in headers.raw:  # most often, and sooner found
        return
    named = {name.strip().lower() for name in headers.get("vary", "").split(",")}
    if not named & {"accept", "*"}:
        headers.add_vary_header("Accept")
