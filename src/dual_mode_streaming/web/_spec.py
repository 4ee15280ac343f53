"""The specification of an endpoint: all arguments of its decorator, frozen."""

import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from inspect import Signature
from typing import Any

from dual_mode_streaming.rendering import Representation, WireFormat
from dual_mode_streaming.stores import Store
from dual_mode_streaming.web._options import Options
from dual_mode_streaming.web._output import Output
from dual_mode_streaming.web._signatures import layers
from dual_mode_streaming.web._sources import SourceOf
from dual_mode_streaming.web._stream_flag import StreamFlag

_ATTRIBUTE = "__dual_mode__"

_endpoints: weakref.WeakSet[Any] = weakref.WeakSet()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """How an endpoint is recorded: `dual_mode(record=Record(...))`; `record=True` is the default.

    Attributes:
        store: where to record; the app's store if None.
        unread: the time in seconds after which the generator is cancelled when its last reader in
            the same worker has left; None lets it run to its end.
    """

    store: Store | None = None
    unread: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSpec:
    """All arguments of `dual_mode(...)` for one endpoint, and what follows from them.

    Attributes:
        function: the callable as it was written.
        source_of: makes its sources.
        signature: its signature, with every annotation resolved.
        output: what it declares about its output.
        stream_flag: reads the flag that decides the mode before Accept does.
        handles_last_event_id: whether the function itself continues after a Last-Event-ID.
        record: how it is recorded; None if it is not.
        wire: the foreign format of its streams; None if there is none.
        options: the options of the decorator; they win over those of the app and the defaults.
    """

    function: Callable[..., Any]
    source_of: SourceOf
    signature: Signature
    output: Output
    stream_flag: StreamFlag
    handles_last_event_id: bool
    record: Record | None
    options: Options
    wire: WireFormat | None = None
    _of_routes: dict[int, tuple[Any, Representation]] = field(default_factory=dict, repr=False)

    def source(self, values: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Return the source for the arguments of one request. The caller closes it."""
        return self.source_of(**values)

    def representation_of(self, route: Any) -> Representation:
        """Return the representation under what a route declares. Raises as `Output.under`."""
        kept, representation = self._of_routes.get(id(route), (None, self.representation))
        if kept is not route:
            representation = self.output.under(route)
            self._of_routes[id(route)] = (route, representation)
        return representation

    @property
    def representation(self) -> Representation:
        """How the items become JSON, events and the batch body, without a route."""
        return self.output.representation

    @property
    def batch_type(self) -> Any:
        """The type of the batch body, for its schema."""
        return self.output.batch_type


def spec_of(endpoint: Any) -> EndpointSpec | None:
    """Return the specification of a path operation that `dual_mode` made; else None."""
    for layer in layers(endpoint):
        if isinstance(spec := getattr(layer, _ATTRIBUTE, None), EndpointSpec):
            return spec
    return None


def attach_spec(endpoint: Any, spec: EndpointSpec) -> None:
    """Attach the specification to the endpoint function."""
    setattr(endpoint, _ATTRIBUTE, spec)
    _endpoints.add(endpoint)


def all_specs() -> list[EndpointSpec]:
    """Return the specifications of all path operations of this process."""
    return [spec for endpoint in tuple(_endpoints) if (spec := spec_of(endpoint)) is not None]
