"""Refusals before an endpoint with a wire format is called: no key, a limit, a wrong body."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.negotiation import Negotiated, ResponseMode
from dual_mode_streaming.rendering import WireFormat
from dual_mode_streaming.web._problems import problem_of
from dual_mode_streaming.web._wire_response import refusal
from dual_mode_streaming.web._wired import wire_form

_MAX_ERRORS: Final = 5


def in_wire_format(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Return a handler of exceptions that refuses in the wire format that a request is to have."""

    @functools.wraps(handler)
    async def handle(connection: HTTPConnection, error: Exception) -> Response | None:
        if (wire := _wire_of(connection)) is not None:
            return refusal(wire, _problem_of(error))
        answer = handler(connection, error)
        response: Response | None = await answer if inspect.isawaitable(answer) else answer
        return response

    return handle


def _wire_of(connection: HTTPConnection) -> WireFormat | None:
    wire: WireFormat | None = getattr(connection.scope.get("endpoint"), "dual_mode_wire", None)
    if wire is None or not isinstance(connection, Request):
        return None
    form = None if "stream" in connection.query_params else wire_form(wire, connection, None)
    is_wired = isinstance(form, Negotiated) and form.mode is ResponseMode.STREAM
    return wire if is_wired else None


def _problem_of(error: Exception) -> Problem:
    """Return a refusal; of a wrong body where it is wrong and why, without the input."""
    if not isinstance(error, RequestValidationError):
        return problem_of(error)
    wrong = []
    for each in error.errors()[:_MAX_ERRORS]:
        where = ".".join(map(str, each["loc"][1:] or each["loc"]))
        wrong.append(f"{where}: {each['msg']}".encode("utf-8", "replace").decode())
    return Problem(422, "; ".join(wrong))
