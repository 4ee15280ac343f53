"""The registry of an app's recordings: its recorded endpoints, their stores, and the owners."""

import asyncio
import functools
import re
from asyncio import AbstractEventLoop
from collections.abc import Callable
from dataclasses import dataclass
from re import Pattern
from urllib.parse import quote
from weakref import WeakKeyDictionary

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import compile_path

from dual_mode_streaming.channels import _places
from dual_mode_streaming.recordings import Recordings
from dual_mode_streaming.stores import Limits, Store, open_store
from dual_mode_streaming.stores._base import StreamInfo
from dual_mode_streaming.stores._factory import check_store
from dual_mode_streaming.stores._observed import observed
from dual_mode_streaming.web._app_state import AppState
from dual_mode_streaming.web._routes import route_path
from dual_mode_streaming.web._signatures import described
from dual_mode_streaming.web._spec import EndpointSpec, spec_of
from dual_mode_streaming.web.recorded._operation import RecordedOperation, operation_name

OwnerOf = Callable[[Request], str]
"""Returns the owner of a request as a string. Only the owner of a stream can read it."""


@dataclass(frozen=True, slots=True)
class _Route:
    """A route to a recorded endpoint: its methods and its path with the prefixes of routers."""

    spec: EndpointSpec
    methods: frozenset[str]
    path: Pattern[str]
    name: str


class RecordingRegistry:
    """The recordings of one app, in its own store and in the stores of single endpoints.

    Args:
        app: the app.
        state: its state.
        store: the app's own store, or its address.
        limits: the limits of a store that is given by its address.
        owner: returns the owner of a request.
        prefix: the path under which recorded streams are read.
    """

    def __init__(
        self,
        app: FastAPI,
        state: AppState,
        store: Store | str,
        limits: Limits | None,
        owner: OwnerOf,
        prefix: str,
    ) -> None:
        check_store(store, "install: store")
        self.owner_of = owner
        self.prefix = prefix
        self._app = app
        self._state = state
        self._address = store if isinstance(store, str) else ""
        self._store = store if not isinstance(store, str) else open_store(store, limits)
        self._of_channels: dict[str, Store] = {}
        self._runs: WeakKeyDictionary[AbstractEventLoop, dict[int, Recordings]]
        self._runs = WeakKeyDictionary()
        self._operations: dict[str, RecordedOperation] = {}
        self._routes: list[_Route] = []

    def recordings_in(self, store: Store | None = None) -> Recordings:
        """Return the recordings in a store, in the running event loop; the app's own if None."""
        store = store or self._store
        opened = self._runs.setdefault(asyncio.get_running_loop(), {})
        found = opened.get(id(store))
        if found is None:
            if (reopen := getattr(store, "reopen", None)) is not None:
                reopen()  # an earlier lifespan has closed it
            observers, watched = self._state.observers, store
            if observers.has("stored"):
                watched = observed(store, functools.partial(observers.notify, "stored"))
            found = opened[id(store)] = Recordings(watched)
            for each in self._operations.values():
                if self._store_of(each.spec) is store:
                    found.add(each.operation)
        return found

    def recordings_at(self, store: Store | str | None) -> Recordings:
        """Return the streams of the store of a channel: the app's own if it has the same address.

        They are closed at the end of the lifespan.
        """
        if isinstance(store, str):
            store = None if store == self._address else self._by_address(store)
        return self.recordings_in(store)

    def _by_address(self, address: str) -> Store:
        if address not in self._of_channels:
            self._of_channels[address] = open_store(address)
        return self._of_channels[address]

    def _store_of(self, spec: EndpointSpec) -> Store:
        return (spec.record and spec.record.store) or self._store

    def _all(self) -> list[Recordings]:
        """Return the recordings in all stores of the app."""
        stores = [self._store, *(self._store_of(each.spec) for each in self._operations.values())]
        return [self.recordings_in(store) for store in {id(each): each for each in stores}.values()]

    @property
    def has_operations(self) -> bool:
        """Whether the app has a recorded endpoint."""
        self._add_routes()
        return bool(self._operations)

    def operation(self, name: str) -> RecordedOperation | None:
        """Return the recorded operation with this name; None if there is none."""
        if name not in self._operations:
            self._add_routes()
        return self._operations.get(name)

    def operations_of(self, spec: EndpointSpec) -> list[RecordedOperation]:
        """Return the operations of an endpoint, one for each of its routes."""
        self._add_routes()
        return [self._operations[route.name] for route in self._routes if route.spec is spec]

    def operation_of(self, spec: EndpointSpec, request: Request) -> RecordedOperation:
        """Return the operation of a request; an endpoint may have several routes.

        Raises:
            RuntimeError: the app has no route to the endpoint.
        """
        found = self._route(spec, request)
        if found is None:
            self._add_routes()  # one may have been added since
            found = self._route(spec, request)
        if found is None:
            name = described(spec.function)["__qualname__"]
            raise RuntimeError(f"the app on which install was called has no route to {name}")
        return self._operations[found.name]

    def _route(self, spec: EndpointSpec, request: Request) -> _Route | None:
        path = route_path(request.scope)
        for route in self._routes:
            if route.spec is spec and request.method in route.methods and route.path.match(path):
                return route
        return None

    async def find(self, stream: str, owner: str) -> tuple[Recordings, StreamInfo] | None:
        """Return a stream and its recordings; None if the owner has no such stream.

        Raises:
            StoreError: a store failed.
        """
        self._add_routes()
        for recordings in self._all():
            info = await recordings.find(stream, owner)
            if info is not None:
                return recordings, info
        return None

    async def open(self) -> None:
        """Start to take over the streams of dead workers, if the app has recorded endpoints."""
        if self.has_operations:
            for recordings in self._all():
                recordings.start_recovery()

    async def aclose(self) -> None:
        """End the generators of this process, and close the stores.

        While a drain has time, they may run to their end.
        """
        patience = self._state.serving.drained_by - asyncio.get_running_loop().time()
        _places.end(self)
        opened = self._runs.pop(asyncio.get_running_loop(), {})
        for recordings in opened.values():
            await recordings.aclose(patience)
        if id(self._store) not in opened:
            await self._store.aclose()

    def _add_routes(self) -> None:
        """Add the recorded endpoints among the app's routes."""
        for context in iter_route_contexts(self._app.routes):
            spec = spec_of(getattr(context, "endpoint", None))
            path = getattr(context, "path_format", None)
            if spec is None or spec.record is None or path is None:
                continue
            name = operation_name(context.methods, path)
            if name not in self._operations:
                operation = RecordedOperation.of(spec, name, context, self._state.defaults)
                self._operations[name] = operation
                methods = frozenset(context.methods or ())
                route = _Route(spec, methods, compile_path(context.path or path)[0], name)
                self._routes.append(route)
                for opened in self._runs.values():
                    if (recordings := opened.get(id(self._store_of(spec)))) is not None:
                        recordings.add(operation.operation)


def registry_of(app: Starlette) -> RecordingRegistry:
    """Return the registry of an app. Raises RuntimeError if `install` was not called on it."""
    registry: RecordingRegistry | None = getattr(app.state, "dual_mode_recordings", None)
    if registry is None:
        raise RuntimeError(
            "a recorded endpoint needs install(app), which adds its store and /streams"
        )
    return registry


def location(request: Request, stream: str) -> str:
    """Return the absolute path of a stream, with the root path under which the app is served."""
    root = quote(request.scope.get("root_path", ""), safe="/%!$&'()*+,;=:@~")
    return re.sub("/{2,}", "/", f"/{root}/{registry_of(request.app).prefix}/{stream}")
