"""RFC 9457 problems: what a client may know about a failure. It is never a traceback."""

from collections.abc import Mapping
from typing import Final

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dual_mode_streaming.errors import (
    BatchLimitExceeded,
    ItemTooLarge,
    NotAcceptable,
    Problem,
    StreamOverflow,
)
from dual_mode_streaming.running.owner import End, logger
from dual_mode_streaming.sse import dumps
from dual_mode_streaming.stores import StoreError, StoreFull

MEDIA_TYPE: Final = "application/problem+json"

MAX_ECHO: Final = 200
"""Maximum characters of client input that are repeated in an error."""

CLIENT_GONE: Final = Response(status_code=499)
"""The response to a client that has disconnected. No server delivers it, but middlewares expect a
response. nginx logs such requests with this status."""


def problem_of(error: BaseException) -> Problem:
    """Return the problem that a client may see of an error.

    A Problem is returned as it is, if it is JSON. An HTTPException keeps its status, detail and
    headers, and the exceptions of the package keep their text. Any other error becomes a 500
    without its text, which may contain secrets.
    """
    if isinstance(error, HTTPException) and not _is_status(error.status_code):
        return Problem(500, "The answer could not be completed.")
    if isinstance(error, Problem):
        try:
            dumps(error.body)
        except Exception:  # a member that is no JSON, a lone surrogate
            return Problem(error.status_code, headers=error.headers)
        return error
    if isinstance(error, HTTPException):
        detail: object = error.detail  # FastAPI allows any JSON
        headers: Mapping[str, str] | None = error.headers
        if isinstance(detail, str):
            sent = detail.encode("utf-8", "replace").decode()  # a lone surrogate cannot be sent
            return Problem(error.status_code, sent, headers=headers)
        try:
            dumps(detail)
        except Exception:  # whatever is no JSON: its status is told all the same
            return Problem(error.status_code, headers=headers)
        return Problem(error.status_code, headers=headers, errors=detail)
    if isinstance(error, NotAcceptable):
        return Problem(error.status_code, str(error), available=error.available)
    if isinstance(error, BatchLimitExceeded):
        status = 504 if error.bound == "seconds" else 413
        return Problem(status, str(error), bound=error.bound)
    if isinstance(error, ItemTooLarge):
        return Problem(500, str(error), bound="event_bytes")
    if isinstance(error, StoreFull):
        return Problem(503, str(error), retry_after=1)
    if isinstance(error, StreamOverflow):
        return Problem(503, str(error))
    if isinstance(error, StoreError):  # its text may name addresses
        return Problem(503, "the store does not answer; try again", retry_after=1)
    return Problem(500, "The answer could not be completed.")


def _is_status(status: object) -> bool:
    return isinstance(status, int) and 200 <= status <= 599


def problem_of_end(end: End) -> Problem:
    """Return the problem of an answer that was ended before it began."""
    if end is End.EXPIRED:
        headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}  # RFC 6750, section 3.1
        return Problem(401, f"{end.value}; try again with new ones", headers=headers)
    return Problem(503, f"{end.value}; try again", retry_after=1)


def render_problem(problem: Problem) -> Response:
    """Return the problem as a response, with its status, its headers and `Vary: Accept`."""
    response = Response(
        dumps(problem.body),
        status_code=problem.status_code,
        headers=problem.headers,
        media_type=MEDIA_TYPE,
    )
    vary_by_accept(response.headers)
    return response


async def rendered_problem(_: Request, error: Exception) -> Response:
    """Handle a Problem, or an error of a store, that was raised in an app: for `install`."""
    if isinstance(error, StoreError):
        logger.error("the store failed: %s", error)
    return render_problem(problem_of(error))


def vary_by_accept(headers: MutableHeaders) -> None:
    """Make all Vary headers one that includes Accept (RFC 9110, section 12.5.5)."""
    given = [value for name, value in headers.raw if name.lower() == b"vary"]
    if given == [b"Accept"]:  # the usual case, and the fastest check
        return
    names = [name.strip() for value in given for name in value.decode("latin-1").split(",")]
    others = {name.lower(): name for name in names if name and name.lower() != "accept"}
    headers["vary"] = "*" if "*" in others else ", ".join([*others.values(), "Accept"])
