"""A route that checks a request before FastAPI reads and parses its body."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute


def guarded_route(check: Callable[[Request], Awaitable[object]]) -> type[APIRoute]:
    """Return a class for `APIRouter(route_class=…)`: its routes check a request before its body.

    FastAPI calls dependencies after it has read and parsed the body, so that anybody could have it
    parsed: `APIRouter(route_class=guarded_route(admission.check))` lets nobody do so without a key.

    Args:
        check: an async function that raises what the request is refused with.
    """

    class GuardedRoute(APIRoute):
        is_guarded = True

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def checked(request: Request) -> Response:
                await check(request)
                return await handle(request)

            return checked

    return GuardedRoute
