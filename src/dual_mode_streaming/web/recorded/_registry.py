"""The recordings of one app: which endpoints are recorded, in which store, and whose they are."""

from collections.abc import Callable
from dataclasses import dataclass
from re import Pattern

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import compile_path

from dual_mode_streaming.recordings import Recordings
from dual_mode_streaming.stores import Limits, Store, open_store
from dual_mode_streaming.stores._base import StreamInfo
from dual_mode_streaming.stores._observed import observed
from dual_mode_streaming.web._app_state import AppState
from dual_mode_streaming.web._spec import EndpointSpec, spec_of
from dual_mode_streaming.web.recorded._operation import RecordedOperation, operation_name

__all__ = ["OwnerOf", "RecordingRegistry", "registry_of"]

OwnerOf = Callable[[Request], str]
"""Who asks, as a string: a stream is shown to nobody but who had it made."""


@dataclass(frozen=True, slots=True)
class _Route:
    """Where an endpoint is found: its methods and its whole path, with the prefixes of routers."""

    spec: EndpointSpec
    methods: frozenset[str]
    path: Pattern[str]
    name: str


class RecordingRegistry:
    """The recordings of one app, in its own store and in those that endpoints have of their own."""

    def __init__(
        self,
        app: FastAPI,
        state: AppState,
        store: Store | str,
        limits: Limits | None,
        owner: OwnerOf,
    ) -> None:
        self.owner_of = owner
        self._app = app
        self._state = state
        self._store = store if not isinstance(store, str) else open_store(store, limits)
        self._opened: dict[int, Recordings] = {}
        self._operations: dict[str, RecordedOperation] = {}
        self._routes: list[_Route] = []

    def recordings_in(self, store: Store | None = None) -> Recordings:
        """The recordings in a store, or in the app's own."""
        store = store or self._store
        observers = self._state.observers
        found = self._opened.get(id(store))
        if found is None:
            watched = observed(store, observers.store) if observers.stored else store
            found = self._opened[id(store)] = Recordings(watched)
        return found

    @property
    def has_operations(self) -> bool:
        """Whether an endpoint of the app is recorded."""
        self._learn()
        return bool(self._operations)

    def operation(self, name: str) -> RecordedOperation | None:
        """The recorded operation of that name."""
        if name not in self._operations:
            self._learn()
        return self._operations.get(name)

    def operation_of(self, spec: EndpointSpec, request: Request) -> RecordedOperation:
        """The operation that a request to an endpoint means: it may be included more than once.

        Raises RuntimeError if the endpoint is none of the app's.
        """
        found = self._route(spec, request)
        if found is None:
            self._learn()  # a route that came later
            found = self._route(spec, request)
        if found is None:
            raise RuntimeError("the endpoint is none of the app on which install was called")
        return self._operations[found.name]

    def _route(self, spec: EndpointSpec, request: Request) -> _Route | None:
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        for route in self._routes:
            if route.spec is spec and request.method in route.methods and route.path.match(path):
                return route
        return None

    async def find(self, stream: str, owner: str) -> tuple[Recordings, StreamInfo] | None:
        """A stream of that owner, and where it is; None if there is none. Raises StoreError."""
        self.recordings_in()
        for recordings in tuple(self._opened.values()):
            info = await recordings.find(stream, owner)
            if info is not None:
                return recordings, info
        return None

    async def open(self) -> None:
        """Begin to look after what other workers have left, if anything here is recorded."""
        self._learn()
        for recordings in self._opened.values():
            recordings.look_after()

    async def aclose(self) -> None:
        """End what runs here, and close the stores."""
        for recordings in self._opened.values():
            await recordings.aclose()
        if not self._opened:
            await self._store.aclose()

    def _learn(self) -> None:
        """Look through the app's routes for what is recorded."""
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
                route = _Route(spec, methods, compile_path(path)[0], name)
                self._routes.append(route)
                self.recordings_in(spec.record.store).add(operation.operation)


def registry_of(app: Starlette) -> RecordingRegistry:
    """Return the registry of an app. Raises RuntimeError if `install` was not called on it."""
    registry: RecordingRegistry | None = getattr(app.state, "dual_mode_recordings", None)
    if registry is None:
        raise RuntimeError("a recorded endpoint needs install(app): it has the store and /streams")
    return registry
