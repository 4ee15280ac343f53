"""A route that checks a request before FastAPI reads and parses its body."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute


def guarded_route(check: Callable[[Request], Awaitable[object]]) -> type[APIRoute]:
    """Return a class for `APIRouter(route_class=…)`.

    A dependency is called after the body was parsed, so that anybody could have it parsed.

    Args:
        check: raises what the request is refused with, as `Admission.check` does.
    """

    class GuardedRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def checked(request: Request) -> Response:
                await check(request)
                return await handle(request)

            return checked

    return GuardedRoute
