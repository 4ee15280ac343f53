"""`install`: add to an app what its dual-mode endpoints need from it."""

import contextlib
import functools
import re
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final, Unpack

import anyio
from fastapi import APIRouter, FastAPI
from fastapi.exception_handlers import (
    http_exception_handler,
    request_validation_exception_handler,
)
from fastapi.routing import iter_route_contexts
from starlette.applications import Starlette
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp

from dual_mode_streaming.channels import _places
from dual_mode_streaming.errors import Problem
from dual_mode_streaming.limits import Admission, key_digest
from dual_mode_streaming.running.owner import logger
from dual_mode_streaming.stores import Limits, Store, StoreError
from dual_mode_streaming.web._app_state import AppState
from dual_mode_streaming.web._drain import draining_on_signals
from dual_mode_streaming.web._json_size import BODY_VALUES
from dual_mode_streaming.web._middleware import RequestStateMiddleware, WholeApp
from dual_mode_streaming.web._observing import Observer
from dual_mode_streaming.web._openapi import add_streams
from dual_mode_streaming.web._openapi_profile import (
    VERSIONS,
    OpenAPIVersion,
    as_3_1,
    serve_profiles,
    wanted_version,
)
from dual_mode_streaming.web._options import Options
from dual_mode_streaming.web._problems import rendered_problem
from dual_mode_streaming.web._route_checks import check_routes
from dual_mode_streaming.web._routes import mounted_apps
from dual_mode_streaming.web._spec import spec_of
from dual_mode_streaming.web._wire_refusals import in_wire_format
from dual_mode_streaming.web.channels._routes import ChannelRule, channel_routes
from dual_mode_streaming.web.recorded._registry import OwnerOf, RecordingRegistry
from dual_mode_streaming.web.recorded._routes import StreamsRouter, stream_routes

_OF_FASTAPI: Final = (http_exception_handler, request_validation_exception_handler)
_PREFIX: Final = re.compile(r"(/[\w.~-]+)+", re.ASCII)


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
    drain_timeout: float = 0.0,
    prefix: str = "/streams",
    body_values: int | None = BODY_VALUES,
    openapi: OpenAPIVersion = "3.2",
    channels: bool | ChannelRule = False,
    **defaults: Unpack[Options],
) -> None:
    """Add to an app what its dual-mode endpoints need: limits, drain, recordings and OpenAPI.

    Call it once, when the app is made, before or after its routes. It adds a middleware around the
    whole app, the routes under `/streams` if an endpoint is recorded, and the streams to the
    OpenAPI document (as OpenAPI 3.2). A route of the app wins over those under `/streams`.

    Recordings, limits, drains and signal handling begin and end with the app's lifespan; the next
    lifespan works like the first. Without one they begin with the first request, and nothing
    closes the store. A mounted app keeps the options of its own `install`; what it opens is closed
    with the lifespan of the outer app, if `install` was called on that one too.

    Args:
        app: the app.
        store: where recorded endpoints are recorded: a store or its address (`memory`,
            `sqlite:PATH`, `redis://…`). It is closed at the end of the lifespan; what is in memory
            is gone then.
        limits: the bounds of the store, if `store` is an address.
        owner: a function that returns the owner of the streams that a request starts; by default
            the digest of the request's API key.
        observers: objects whose methods are called for every answer; see `Observer`.
        admission: the limits of concurrent answers and of rates.
        signals: whether SIGTERM and SIGINT drain the app, under any server that handles them.
        drain_delay: the time in seconds for which the app goes on as before after a signal.
        drain_timeout: the time in seconds that batches and recordings have after that to complete.
        prefix: the path under which recorded streams are read, cancelled and deleted.
        body_values: the most values and names in a JSON body, for every route of the app; None for
            no limit. A body with more is refused with 413 before it is parsed: the event loop could
            do nothing else meanwhile.
        openapi: the version of the OpenAPI document; `?profile=3.1` and `?profile=3.2` at its URL
            choose it for one request. Many generators of clients refuse 3.2. In 3.1 `schema` stands
            where 3.2 has `itemSchema`, the schema of each item of a stream.
        channels: whether `/channels/{name}` serves the channels in the store to clients. A function
            `(request, name, action)` returns whether a request may `create`, `write`, `read` or
            `delete` a channel; with True everyone may create one, and its owner may do the rest.
        defaults: the options of all endpoints; those of an endpoint win. See `Options`.

    Raises:
        RuntimeError: `install` was called before on this app, or the app serves already.
        TypeError, ValueError: there is no such option, or its value is out of range; `prefix` is
            not a path such as `/streams`; `app` is no FastAPI app.
    """
    if not issubclass(given := type(app), FastAPI):
        raise TypeError(f"install needs the FastAPI app that is served, not this {given.__name__}")
    if hasattr(app.state, "dual_mode"):
        raise RuntimeError("install(app) was called on this app before; once is enough")
    if app.middleware_stack is not None:
        raise RuntimeError("install(app) must come before the app serves its first request")
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(f"prefix must be a path such as /streams or /api/streams, not {prefix!r}")
    if body_values is not None and (isinstance(body_values, bool) or body_values < 1):
        raise ValueError(f"body_values must be at least 1, or None, not {body_values!r}")
    if openapi not in VERSIONS:
        raise ValueError(f"openapi must be one of {', '.join(VERSIONS)}, not {openapi!r}")
    state = AppState(defaults, observers, admission, body_values)
    state.drain_timeout = drain_timeout
    registry = RecordingRegistry(app, state, store, limits, owner, prefix)
    app.state.dual_mode, app.state.dual_mode_recordings = state, registry
    state.on_begin = lambda: _places.begin(registry)
    state.on_request = lambda: _places.serving.set(registry)
    for kind in (Problem, StoreError):
        app.exception_handlers.setdefault(kind, rendered_problem)  # the app may have its own
    for kind, handler in app.exception_handlers.items():
        if handler in (rendered_problem, *_OF_FASTAPI):
            app.exception_handlers[kind] = in_wire_format(handler)
    routes = stream_routes(registry, app)
    added: list[APIRouter] = [routes]
    if channels:
        rule = None if channels is True else channels
        added.append(channel_routes(registry, app, rule, "/channels"))
    for router in added:
        app.include_router(router)
        app.router.routes.insert(0, app.router.routes.pop())  # before a route that catches all
    add_openapi = functools.partial(_add_openapi, app, state, routes, openapi)
    _add_middleware(app, state, add_openapi)
    _add_lifespan(app, state, registry, routes, drain_delay if signals else None)
    app.openapi_version = "3.2.0"
    serve_profiles(app)
    add_openapi()


def _add_middleware(app: FastAPI, state: AppState, add_openapi: Callable[[], None]) -> None:
    """Make `RequestStateMiddleware` the outermost one, also outside of the error handlers."""
    build = app.build_middleware_stack

    def build_with_state() -> ASGIApp:
        check_routes(app)  # the app starts: it has all its routes
        add_openapi()  # again, if `app.openapi` was replaced since
        whole = build()
        if isinstance(whole, ServerErrorMiddleware):
            return WholeApp(whole, state)
        return RequestStateMiddleware(whole, state)

    app.build_middleware_stack = build_with_state  # type: ignore[method-assign]


def _add_lifespan(
    app: FastAPI,
    state: AppState,
    registry: RecordingRegistry,
    routes: StreamsRouter,
    drain_delay: float | None,
) -> None:
    """Start recordings and signal handling inside the app's lifespan; None disables signals."""
    inner = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def serving(signals: bool = True) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            state.begin()
            stack.callback(state.end)
            stack.push_async_callback(state.admission.aclose)
            stack.push_async_callback(registry.aclose)
            with anyio.CancelScope():  # loads anyio's backend now, which takes 100 ms
                await registry.open()
            routes.check()
            for path, mounted in mounted_apps(app.routes):
                await _begin_mounted(path, mounted, stack, signals=drain_delay is None)
            if drain_delay is not None and signals:
                stack.enter_context(draining_on_signals(state, drain_delay))
            yield

    @contextlib.asynccontextmanager
    async def lifespan(of: Any) -> AsyncIterator[Any]:
        async with inner(of) as given, serving():
            yield given

    until_exit: list[Any] = []

    def on_first_request(is_mounted: bool) -> None:
        if is_mounted:
            logger.warning(
                "an app with install() is mounted in one without: its store is not closed at the "
                "end. Call install() on the outer app too"
            )
        if drain_delay is not None:
            draining = draining_on_signals(state, drain_delay)
            draining.__enter__()
            until_exit.append(draining)  # nothing says when the app ends

    state.lifespan, state.on_first_request = serving, on_first_request
    app.router.lifespan_context = lifespan


async def _begin_mounted(
    path: str, app: Starlette, stack: contextlib.AsyncExitStack, *, signals: bool
) -> None:
    """Begin and end what a mounted app needs: nothing else runs its lifespan."""
    state: AppState | None = getattr(app.state, "dual_mode", None)
    if state is not None and not state.is_begun:
        await stack.enter_async_context(state.lifespan(signals))
    elif state is None and any(map(_is_recorded, iter_route_contexts(app.routes))):
        logger.warning(
            "the app mounted at %s has recorded endpoints, which need install() on that app", path
        )


def _is_recorded(route: Any) -> bool:
    spec = spec_of(getattr(route, "endpoint", None))
    return spec is not None and spec.record is not None


def _add_openapi(
    app: FastAPI, state: AppState, routes: StreamsRouter, default: OpenAPIVersion
) -> None:
    """Add the streams to the app's OpenAPI document whenever FastAPI makes a new one."""
    make = app.openapi
    if getattr(make, "adds_streams", False):
        return
    enriched: dict[str, Any] | None = None

    def openapi() -> dict[str, Any]:
        nonlocal enriched
        document = make()
        if document is not enriched:
            add_streams(document, app, state.defaults)
            routes.arrange(document["paths"])
            enriched = document
        return document if wanted_version(default) == "3.2" else as_3_1(document)

    openapi.adds_streams = True  # type: ignore[attr-defined]
    app.openapi = openapi  # type: ignore[method-assign]
