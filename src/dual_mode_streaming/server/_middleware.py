"""What surrounds all routes of the service: HEAD, the size of bodies, brief validation errors."""

import json
from collections.abc import Awaitable, Sequence
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from dual_mode_streaming.web._request_state import request_state

_BODY_HEADERS: Final = (b"content-length", b"transfer-encoding")


class HeadAsGet:
    """Middleware that answers HEAD wherever there is GET (RFC 9110, section 9.3.2).

    FastAPI's routes know only the methods that they are given. The server drops the body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            request_state(scope).head = True  # so that no generator is started
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)


class BodyLimit:
    """Middleware that refuses bodies of more than `limit` bytes with 413.

    The routes under /v1/ have a limit of their own, and refuse in their wire formats.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limited = RequestBodyLimitMiddleware(app, max_body_size=limit)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        wire_format = scope["type"] == "http" and scope["path"].startswith("/v1/")
        unlimited = wire_format or _has_no_body(scope)
        return (self._app if unlimited else self._limited)(scope, receive, send)


def _has_no_body(scope: Scope) -> bool:
    """Whether a request of HTTP/1 can have no body (RFC 9112, section 6.3).

    For such a request nothing is wrapped: the wrapper would stay for as long as the stream.
    """
    if scope["type"] != "http" or not scope["http_version"].startswith("1"):
        return False
    return not any(name in _BODY_HEADERS for name, _ in scope["headers"])


def allow_origins(app: FastAPI, origins: Sequence[str]) -> None:
    """Let pages of other origins read every answer, also a 500 and what `install` refuses.

    `app.add_middleware` puts a middleware inside the handler of server errors: a page could not
    distinguish a 500 from a lost connection, and would ask again.
    """
    build = app.build_middleware_stack

    def build_within_cors() -> ASGIApp:
        return CORSMiddleware(
            build(),
            allow_origins=origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["*"],
            expose_headers=["Location", "Retry-After", "X-Request-ID"],
        )

    app.build_middleware_stack = build_within_cors  # type: ignore[method-assign]


async def method_not_allowed(request: Request, error: Exception) -> Response:
    """Answer 405 with the methods of all routes of the path; Starlette names those of one."""
    assert isinstance(error, HTTPException)
    allowed: set[str] = set()
    for context in iter_route_contexts(request.app.routes):
        if context.matches(request.scope)[0] is not Match.NONE:
            allowed |= context.methods or set()
    allowed |= {"HEAD"} if "GET" in allowed else set()
    return JSONResponse({"detail": error.detail}, 405, {"Allow": ", ".join(sorted(allowed))})


async def validation_error(_: Request, error: Exception) -> Response:
    """Answer a request that does not fit its schema: where and why, without repeating the input.

    FastAPI's own handler repeats the input. That may be a secret, or megabytes; and NaN or a lone
    surrogate in it would end in a 500. The shape is FastAPI's, which the document describes.
    """
    assert isinstance(error, RequestValidationError)
    errors = [{name: each[name] for name in ("type", "loc", "msg")} for each in error.errors()]
    body = json.dumps({"detail": errors[:20]}, separators=(",", ":"))  # ASCII: escapes surrogates
    return Response(body, 422, media_type="application/json")
