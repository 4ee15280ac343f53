"""The most bytes that a request may have, wherever nobody else looks after it."""

from collections.abc import Awaitable
from typing import Final

from fastapi import FastAPI
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["limit_bodies"]


_FRAMED_BY: Final = (b"content-length", b"transfer-encoding")


class _Bodies:
    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limited = RequestBodyLimitMiddleware(app, max_body_size=limit)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # The foreign faces have the same limit, and refuse in a format of their own.
        foreign = scope["type"] == "http" and scope["path"].startswith("/v1/")
        unlimited = foreign or _bodiless(scope)
        return (self._app if unlimited else self._limited)(scope, receive, send)


def _bodiless(scope: Scope) -> bool:
    """Whether a request is one of HTTP/1 that can have no body (RFC 9112, 6.3).

    A reader of a stream sends none, and what would count it would stay for as long as the stream.
    """
    if scope["type"] != "http" or not scope["http_version"].startswith("1"):
        return False
    return not any(name in _FRAMED_BY for name, _ in scope["headers"])


def limit_bodies(app: FastAPI, limit: int) -> None:
    """Refuse larger bodies with 413."""
    app.add_middleware(_Bodies, limit=limit)
