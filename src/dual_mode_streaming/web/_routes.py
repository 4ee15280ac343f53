"""The user's routes: which of them would answer a request, and which apps are mounted."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from fastapi.routing import iter_route_contexts
from starlette.applications import Starlette
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.routing import BaseRoute, Host, Match, Mount, Router
from starlette.types import Scope

_CATCHES_ALL: Final = re.compile(r"/\{\w+:(?:path|whole_path)\}")


class _WholePath(PathConvertor):
    """A path that may hold line ends, which Starlette's `path` does not match."""

    regex = "(?s:.*)"


WHOLE_PATH: Final = "whole_path"
"""The name of that convertor, for `{name:whole_path}`."""

register_url_convertor(WHOLE_PATH, _WholePath())


def route_path(scope: Scope) -> str:
    """Return the path of a request without the root path, as Starlette's routes match it.

    The root path is removed only if whole segments of the path are equal to it: proxies and
    `FastAPI(root_path=…)` name one that is not in the path.
    """
    path: str = scope["path"]
    root = scope.get("root_path", "")
    rest = path.removeprefix(root) if root else path
    return rest if rest[:1] in ("", "/") else path


def taken_by(routes: Sequence[BaseRoute], scope: Scope, ours: Sequence[BaseRoute]) -> str | None:
    """Return the path of the user's route that answers a request; None if there is none.

    A route that catches every path, and a mount at `/` that is not an app with routes, do not
    count: they are asked last.

    Args:
        routes: the routes of the app.
        scope: the scope of the request.
        ours: the routes that do not count either.
    """
    for context in iter_route_contexts(routes):
        route, path = context.original_route, context.path or ""
        if route in ours or _CATCHES_ALL.match(path):
            continue
        found, child = context.matches(scope)
        if found is not Match.FULL:
            continue
        if not isinstance(route, Mount | Host) or path:
            return path or str(getattr(route, "host", "?"))
        if (app := _app_of(route)) is not None:
            inner = taken_by(app.routes, {**scope, **child}, ours)
            if inner is not None:
                return inner
    return None


def mounted_apps(routes: Sequence[BaseRoute], prefix: str = "") -> Iterator[tuple[str, Starlette]]:
    """Yield the apps that are mounted, at any depth, with their paths."""
    for context in iter_route_contexts(routes):
        route = context.original_route
        if isinstance(route, Mount | Host):
            path = prefix + (context.path or f"//{getattr(route, 'host', '')}".rstrip("/"))
            app = _app_of(route)
            if isinstance(app, Starlette):
                yield path, app
            if app is not None:
                yield from mounted_apps(app.routes, path)


def _app_of(route: Any) -> Starlette | Router | None:
    """Return the app of a mount, inside the middlewares that are around it."""
    app = route.app
    while not isinstance(app, Starlette | Router):
        app = getattr(app, "app", None)
        if app is None:
            return None
    return app
