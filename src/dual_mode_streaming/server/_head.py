"""HEAD, wherever there is GET: FastAPI's routes know only the methods they are given."""

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from dual_mode_streaming.web._request_state import exchange_of

__all__ = ["answer_head"]


class _Head:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            exchange_of(scope).head = True  # so that no generator is started for it
            scope = {**scope, "method": "GET"}  # the server knows better, and drops the body
        await self._app(scope, receive, send)


def answer_head(app: FastAPI) -> None:
    """Answer HEAD as RFC 9110, 9.3.2, has it: with what GET would begin with."""
    app.add_middleware(_Head)
