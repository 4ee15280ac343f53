"""The recordings of one app: which endpoints are recorded, in which store, and whose they are."""

from collections.abc import Callable
from dataclasses import dataclass
from re import Pattern
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.requests import Request
from starlette.routing import compile_path

from dual_mode_streaming.recordings import Recordings
from dual_mode_streaming.stores import Limits, Store, open_store
from dual_mode_streaming.stores._base import StreamInfo
from dual_mode_streaming.stores._observed import observed
from dual_mode_streaming.web._request_state import lifecycle_of
from dual_mode_streaming.web._spec import endpoint_of
from dual_mode_streaming.web.recorded._endpoint import RecordedEndpoint, operation_name
from dual_mode_streaming.web.recorded._replay import RecordedOperation

__all__ = ["AppRecordings", "Owner"]

Owner = Callable[[Request], str]
"""Who asks, as a string: a stream is shown to nobody but who had it made."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an endpoint is found: its methods and its whole path, with the prefixes of routers."""

    endpoint: RecordedEndpoint
    methods: frozenset[str]
    path: Pattern[str]
    name: str


class AppRecordings:
    """The recordings of one app, in its own store and in those that endpoints have of their own."""

    def __init__(
        self, app: FastAPI, store: Store | str, limits: Limits | None, owner: Owner
    ) -> None:
        self.owner_of = owner
        self._app = app
        self._store = store if not isinstance(store, str) else open_store(store, limits)
        self._hubs: dict[int, Recordings] = {}
        self._operations: dict[str, RecordedOperation] = {}
        self._places: list[_Place] = []

    def hub(self, store: Store | None = None) -> Recordings:
        """The recordings in a store, or in the app's own."""
        store = store or self._store
        told = lifecycle_of(self._app).observers
        found = self._hubs.get(id(store))
        if found is None:
            watched = observed(store, told.store) if told.stored else store
            found = self._hubs[id(store)] = Recordings(watched)
        return found

    @property
    def are_made(self) -> bool:
        """Whether an endpoint of the app is recorded."""
        self._learn()
        return bool(self._operations)

    def known(self, name: str) -> RecordedOperation | None:
        """The recorded operation of that name."""
        if name not in self._operations:
            self._learn()
        return self._operations.get(name)

    def operation_of(self, of: RecordedEndpoint, request: Request) -> RecordedOperation:
        """The operation that a request to an endpoint means: it may be included more than once.

        Raises RuntimeError if the endpoint is none of the app's.
        """
        found = self._place(of, request)
        if found is None:
            self._learn()  # a route that came later
            found = self._place(of, request)
        if found is None:
            raise RuntimeError("the endpoint is none of the app on which install was called")
        return self._operations[found.name]

    def _place(self, of: RecordedEndpoint, request: Request) -> _Place | None:
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        for place in self._places:
            if place.endpoint is of and request.method in place.methods and place.path.match(path):
                return place
        return None

    async def find(self, stream: str, owner: str) -> tuple[Recordings, StreamInfo] | None:
        """A stream of that owner, and where it is; None if there is none. Raises StoreError."""
        self.hub()
        for hub in tuple(self._hubs.values()):
            info = await hub.find(stream, owner)
            if info is not None:
                return hub, info
        return None

    async def open(self) -> None:
        """Begin to look after what other workers have left, if anything here is recorded."""
        self._learn()
        for hub in self._hubs.values():
            hub.look_after()

    async def aclose(self) -> None:
        """End what runs here, and close the stores."""
        for hub in self._hubs.values():
            await hub.aclose()
        if not self._hubs:
            await self._store.aclose()

    def _learn(self) -> None:
        """Look through the app's routes for what is recorded."""
        defaults = lifecycle_of(self._app).defaults
        for context in iter_route_contexts(self._app.routes):
            endpoint: Any = endpoint_of(getattr(context, "endpoint", None))
            path = getattr(context, "path_format", None)
            if endpoint is None or endpoint.recorded is None or path is None:
                continue
            name = operation_name(context.methods, path)
            if name not in self._operations:
                made = endpoint.recorded.operation(name, context, defaults)
                self._operations[name] = made
                methods = frozenset(context.methods or ())
                place = _Place(endpoint.recorded, methods, compile_path(path)[0], name)
                self._places.append(place)
                self.hub(endpoint.recorded.store).add(made.operation)
