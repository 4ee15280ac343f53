"""What answers under /v1 where nothing else does: 404, 405 and 426 in the caller's wire format."""

from collections.abc import Callable
from typing import Final

from fastapi import APIRouter, Request, WebSocket
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.web._routes import WHOLE_PATH

NO_WEBSOCKET: Final = Problem(
    426, "there are no WebSockets here: send the request with POST", headers={"upgrade": "HTTP/1.1"}
)
"""Codex tries a WebSocket first. At this status, and at no other, it goes on with HTTP at once."""

_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


class _LastRoute(APIRoute):
    """A route that every other one precedes: its match is never a full one."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        return (Match.PARTIAL if match is Match.FULL else match), child


def add_fallback(routes: APIRouter, answer: Callable[[Request], Response]) -> None:
    """Answer what no route under /v1 does, with 405 where other methods do.

    Args:
        routes: the router; the route is put before its others, whose partial matches it replaces.
        answer: returns the response.
    """

    async def fallback(request: Request, rest: str) -> Response:
        return answer(request)

    routes.add_api_route(
        f"/v1/{{rest:{WHOLE_PATH}}}",
        fallback,
        methods=_METHODS,
        include_in_schema=False,
        response_model=None,
        route_class_override=_LastRoute,
    )
    routes.routes.insert(0, routes.routes.pop())


def refuse_websocket(routes: APIRouter, path: str, body: bytes) -> None:
    """Refuse a WebSocket with 426, at which clients go on with HTTP.

    A server without WebSockets makes a plain GET of it, see `problem_of_path`.

    Args:
        routes: the router.
        path: the path.
        body: the body of the refusal.
    """

    @routes.websocket(path)
    async def websocket(websocket: WebSocket) -> None:
        if "websocket.http.response" in websocket.scope.get("extensions", {}):
            refusal = Response(body, 426, NO_WEBSOCKET.headers, media_type="application/json")
            await websocket.send_denial_response(refusal)
        else:
            await websocket.close()


def problem_of_path(routes: APIRouter, request: Request) -> Problem:
    """Return the problem of a request that no route of a router answers."""
    path = f"/v1/{request.path_params['rest']}"
    found = [
        route
        for route in routes.routes
        if isinstance(route, APIRoute) and not isinstance(route, _LastRoute)
        if route.path_regex.match(path)
    ]
    allowed = {
        method
        for route in found
        if route.path == found[0].path  # not of "…/{id}", where "…/input_tokens" is a path
        for method in route.methods or ()
    }
    if "websocket" in request.headers.get("upgrade", "").lower():
        return NO_WEBSOCKET
    named = f"{request.method} {path[:200]}"
    if allowed and path != "/v1/responses/compact":  # not the id of a response
        methods = ", ".join(sorted(allowed))
        detail = f"{named}: the method is not allowed here; allowed: {methods}"
        return Problem(405, detail, headers={"allow": methods})
    return Problem(404, f"{named}: there is no such path here", code="unknown_url")
