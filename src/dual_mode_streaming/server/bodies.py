"""The most bytes that a request may have, wherever nobody else looks after it."""

from fastapi import FastAPI
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["limit_bodies"]


class _Bodies:
    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limited = RequestBodyLimitMiddleware(app, max_body_size=limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The foreign faces have the same limit, and refuse in a format of their own.
        foreign = scope["type"] == "http" and scope["path"].startswith("/v1/")
        await (self._app if foreign else self._limited)(scope, receive, send)


def limit_bodies(app: FastAPI, limit: int) -> None:
    """Refuse larger bodies with 413."""
    app.add_middleware(_Bodies, limit=limit)
