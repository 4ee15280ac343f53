"""`install`: add to an app what its dual-mode endpoints need from it."""

import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any, Unpack

import anyio
from fastapi import FastAPI
from starlette.types import ASGIApp

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.limits import Admission, key_digest
from dual_mode_streaming.stores import Limits, Store, StoreError
from dual_mode_streaming.web._app_state import AppState
from dual_mode_streaming.web._drain import draining_on_signals
from dual_mode_streaming.web._observing import Observer
from dual_mode_streaming.web._openapi import add_streams
from dual_mode_streaming.web._options import Options
from dual_mode_streaming.web._problems import rendered_problem
from dual_mode_streaming.web._request_state import RequestStateMiddleware
from dual_mode_streaming.web._route_checks import check_routes
from dual_mode_streaming.web.recorded._registry import OwnerOf, RecordingRegistry
from dual_mode_streaming.web.recorded._routes import PATHS, stream_routes


def install(
    app: FastAPI,
    *,
    store: Store | str = "memory",
    limits: Limits | None = None,
    owner: OwnerOf = key_digest,
    observers: Iterable[Observer] = (),
    admission: Admission | None = None,
    signals: bool = True,
    drain_delay: float = 0.0,
    **defaults: Unpack[Options],
) -> None:
    """Add to an app what its dual-mode endpoints need: limits, drain, recordings and OpenAPI.

    Call it once, when the app is made. It adds a middleware around the whole app, the routes under
    `/streams` for recorded endpoints, and the streams to the OpenAPI document (as OpenAPI 3.2).
    Recordings, limits and signal handling begin and end with the app's lifespan.

    Args:
        app: the app.
        store: where recorded endpoints are recorded: a store or its address (`memory`,
            `sqlite:PATH`, `redis://…`). It is closed at the end of the lifespan.
        limits: the bounds of the store, if `store` is an address.
        owner: a function that returns the owner of the streams that a request starts; by default
            the digest of the request's API key.
        observers: objects whose methods are called for every answer; see `Observer`.
        admission: the limits of concurrent answers and of rates.
        signals: whether SIGTERM and SIGINT drain the app, under any server that handles them.
        drain_delay: the time in seconds between a signal, after which new answers are refused, and
            the end of the open answers.
        defaults: the options of all endpoints; those of an endpoint win. See `Options`.

    Raises:
        RuntimeError: `install` was called before on this app, or the app serves already.
        TypeError, ValueError: there is no such option, or its value is out of range.
    """
    if hasattr(app.state, "dual_mode"):
        raise RuntimeError("install(app) was called on this app before; once is enough")
    if app.middleware_stack is not None:
        raise RuntimeError("install(app) must come before the app serves its first request")
    app.state.dual_mode = state = AppState(defaults, observers, admission)
    registry = RecordingRegistry(app, state, store, limits, owner)
    app.state.dual_mode_recordings = registry
    _add_middleware(app, state)
    _add_lifespan(app, state, registry, drain_delay if signals else None)
    for kind in (Problem, StoreError):
        app.exception_handlers.setdefault(kind, rendered_problem)  # the app may have its own
    app.include_router(stream_routes(registry))
    _add_openapi(app, state, registry)


def _add_middleware(app: FastAPI, state: AppState) -> None:
    """Make `RequestStateMiddleware` the outermost one, also outside of the error handlers."""
    build = app.build_middleware_stack

    def build_with_state() -> ASGIApp:
        check_routes(app)  # the app starts: it has all its routes
        return RequestStateMiddleware(build(), state)

    app.build_middleware_stack = build_with_state  # type: ignore[method-assign]


def _add_lifespan(
    app: FastAPI, state: AppState, registry: RecordingRegistry, drain_delay: float | None
) -> None:
    """Start recordings and signal handling inside the app's lifespan; None disables signals."""
    inner = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(of: Any) -> AsyncIterator[Any]:
        async with inner(of) as given:
            async with contextlib.AsyncExitStack() as stack:
                stack.push_async_callback(state.admission.aclose)
                stack.push_async_callback(registry.aclose)
                with anyio.CancelScope():  # loads anyio's backend now, which takes 100 ms
                    await registry.open()
                if drain_delay is not None:
                    stack.enter_context(draining_on_signals(state, drain_delay))
                yield given

    app.router.lifespan_context = lifespan


def _add_openapi(app: FastAPI, state: AppState, registry: RecordingRegistry) -> None:
    """Add the streams to the app's OpenAPI document whenever FastAPI makes a new one."""
    app.openapi_version = "3.2.0"
    make = app.openapi
    enriched: dict[str, Any] | None = None

    def openapi() -> dict[str, Any]:
        nonlocal enriched
        document = make()
        if document is not enriched:
            add_streams(document, app, state.defaults)
            if not registry.has_operations:
                for path in PATHS:
                    document["paths"].pop(path, None)
            enriched = document
        return document

    app.openapi = openapi  # type: ignore[method-assign]
