"""The OpenAPI document as version 3.1, for generators of clients that refuse 3.2; and its route."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Final, Literal, get_args

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dual_mode_streaming.errors import Problem

OpenAPIVersion = Literal["3.1", "3.2"]
VERSIONS: Final[tuple[OpenAPIVersion, ...]] = get_args(OpenAPIVersion)
_WANTED: ContextVar[OpenAPIVersion | None] = ContextVar("_WANTED", default=None)
_OPAQUE: Final = frozenset({"schema", "schemas", "example", "examples"})
"""What has names of the app's own in it."""


def version_of(text: str) -> OpenAPIVersion | None:
    """Return the version of that name, if there is one."""
    return next((version for version in VERSIONS if version == text), None)


def wanted_version(default: OpenAPIVersion) -> OpenAPIVersion:
    """Return the version that is asked for now."""
    return _WANTED.get() or default


@contextlib.contextmanager
def wanting(version: OpenAPIVersion | None) -> Iterator[None]:
    """Ask for a version of the document: `app.openapi()` returns it within the block."""
    token = _WANTED.set(version)
    try:
        yield
    finally:
        _WANTED.reset(token)


def as_3_1(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document as OpenAPI 3.1, with `schema` where 3.2 has `itemSchema`.

    The schema of a stream is then that of each of its items.
    """
    converted: dict[str, Any] = _converted(document)
    return {**converted, "openapi": "3.1.0"}


def _converted(value: Any) -> Any:
    if isinstance(value, list):
        return [_converted(part) for part in value]
    if not isinstance(value, dict):
        return value
    if "itemSchema" in value:
        value = {key: part for key, part in value.items() if key != "itemSchema"} | {
            "schema": value["itemSchema"]
        }
    return {key: part if key in _OPAQUE else _converted(part) for key, part in value.items()}


def serve_profiles(app: FastAPI) -> None:
    """Let the route of the document take `?profile=3.1` and `?profile=3.2`."""
    for index, route in enumerate(app.router.routes):
        if isinstance(route, Route) and route.path == app.openapi_url:
            app.router.routes[index] = Route(
                route.path,
                _with_profile(route.endpoint),
                name=route.name,
                include_in_schema=False,
            )
            return


def _with_profile(endpoint: Any) -> Any:
    async def openapi(request: Request) -> Response:
        profile = request.query_params.get("profile")
        version = None if profile is None else version_of(profile)
        if version is None and profile is not None:
            raise Problem(400, f"profile must be one of {', '.join(VERSIONS)}")
        with wanting(version):
            response: Response = await endpoint(request)
        return response

    return openapi
