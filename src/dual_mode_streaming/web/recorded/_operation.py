"""The operation of a recorded endpoint: what a worker needs to record and resume its streams."""

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pydantic_core
from pydantic import TypeAdapter
from starlette.exceptions import HTTPException

from dual_mode_streaming.channels import Subscription
from dual_mode_streaming.errors import ItemTooLarge, Problem
from dual_mode_streaming.recordings import Operation, StreamRecord
from dual_mode_streaming.rendering import ItemCodec, Representation
from dual_mode_streaming.sse import RESERVED_EVENTS, dumps
from dual_mode_streaming.stores import StreamInfo
from dual_mode_streaming.web._headers import sendable
from dual_mode_streaming.web._options import Options, resolved_options
from dual_mode_streaming.web._problems import problem_of
from dual_mode_streaming.web._signatures import described
from dual_mode_streaming.web._sources import Returned
from dual_mode_streaming.web._spec import EndpointSpec

_RESUME_FROM = "resume_from"

HEADERS = "headers"
"""The member of a recorded problem that holds its headers; it is not sent."""

RAISED = "raised"
"""The member of a recorded HTTPException that holds its detail, for the app's handler; not sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedOperation:
    """A recorded endpoint under one route of an app.

    Attributes:
        operation: the same for `Recordings`, which do not depend on the web.
        spec: the specification of the endpoint.
        representation: the endpoint's, under the route's own `response_model_*` options.
        options: all options: the endpoint's, the app's, and the defaults.
        adapters: the types of the parameters that are stored for a worker that resumes a stream;
            None if no worker can.
    """

    operation: Operation
    spec: EndpointSpec
    representation: Representation
    options: Options
    adapters: Mapping[str, TypeAdapter[Any]] | None

    @classmethod
    def of(
        cls, spec: EndpointSpec, name: str, route: Any, defaults: Options
    ) -> "RecordedOperation":
        """Return the operation of an endpoint under a route, in an app with these defaults."""
        options = resolved_options(defaults, spec.options)
        representation = spec.representation_of(route)
        adapters = parameter_adapters(spec)
        assert spec.record is not None
        operation = Operation(
            name=name,
            record_of=_record_of(representation, options["error_event"], options["event_bytes"]),
            problem_of=_recorded_problem,
            resume=None if adapters is None else functools.partial(_resumed, spec, adapters),
            unread=spec.record.unread,
            cleanup_timeout=options["cleanup_timeout"],
            max_duration=options["max_duration"],
        )
        return cls(
            operation=operation,
            spec=spec,
            representation=representation,
            options=options,
            adapters=adapters,
        )

    def source(self, values: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Return the source of a new recording. The caller closes it."""
        start = {} if self.adapters is None else {_RESUME_FROM: 0}
        source = self.spec.source({**values, **start})
        if isinstance(source, Returned):
            source.subscribed = _refused
        return source

    def packed(self, values: Mapping[str, Any], begun: Mapping[str, Any] | None = None) -> bytes:
        """Return what is stored with a recording, as JSON; empty if that is nothing.

        Args:
            values: the arguments, which are stored if a worker can resume.
            begun: what the wire format of the endpoint needs of the request.
        """
        if self.adapters is None and begun is None:
            return b""
        packed = {
            name: adapter.dump_python(values[name], mode="json", by_alias=True)
            for name, adapter in (self.adapters or {}).items()
        }
        return pydantic_core.to_json({"values": packed, "begun": begun})


_ANYTHING: Final = ItemCodec()


def begun_of(info: StreamInfo) -> Mapping[str, Any]:
    """Return what the wire format of a recording needs; nothing of one in another format."""
    stored = pydantic_core.from_json(info.new.request) if info.new.request else {}
    return stored.get("begun") or {}


def _refused(_: Subscription[Any]) -> AsyncIterator[Any]:
    raise TypeError("a channel is stored already: remove `record` from its endpoint")


def operation_name(methods: Iterable[str] | None, path: str) -> str:
    """Return the name of a route's operation, the same in every worker."""
    return f"{','.join(sorted(methods or ()))} {path}"


def parameter_adapters(spec: EndpointSpec) -> dict[str, TypeAdapter[Any]] | None:
    """Return the types of the parameters of a generator function that can be resumed; else None.

    A function with the parameter `resume_from` (0 for a new recording) can continue where another
    worker stopped. It is called again with the same arguments and with the number of recorded
    items. So its other parameters must be data that pydantic can store as JSON.

    Raises:
        TypeError: the type of a parameter is not data.
    """
    parameters = spec.signature.parameters
    if _RESUME_FROM not in parameters:
        return None
    return {
        name: _adapter(described(spec.function)["__qualname__"], name, parameter)
        for name, parameter in parameters.items()
        if name != _RESUME_FROM
    }


def _adapter(function: str, name: str, parameter: inspect.Parameter) -> TypeAdapter[Any]:
    if name in ("self", "cls"):
        raise TypeError(
            f"{function} cannot be resumed without its object: decorate the bound method, "
            "`dual_mode(record=True)(views.read)`; or remove `resume_from`"
        )
    try:
        annotation = parameter.annotation
        return TypeAdapter(Any if annotation is inspect.Parameter.empty else annotation)
    except Exception as error:
        raise TypeError(
            f"{function} cannot be resumed: its parameter {name!r} is not data that"
            " can be stored; remove it, or remove `resume_from`"
        ) from error


def _resumed(
    spec: EndpointSpec, adapters: Mapping[str, TypeAdapter[Any]], request: bytes, items: int
) -> AsyncIterator[Any]:
    """Return the source that continues a recording after `items` items."""
    packed = pydantic_core.from_json(request)["values"]
    values = {name: adapters[name].validate_python(packed[name]) for name in packed}
    return spec.source({**values, _RESUME_FROM: items})


def _record_of(
    representation: Representation, error_event: str, event_bytes: int
) -> Callable[[Any], StreamRecord | None]:
    """Return the function that makes the record of an item, as `Operation.record_of`.

    An event's own id is not recorded, since the cursor of a record is its id.
    """
    codec, folds = representation.codec, representation.fold is not None
    reserved = RESERVED_EVENTS | {error_event}

    def record(item: Any) -> StreamRecord | None:
        event = codec.event(item)
        if event is None:
            data, name = codec.named(item)
            exact = codec.exact_json(item, data) if folds else b""
            made = StreamRecord("json", name or "", data, exact)
        elif event.data is None:
            return None
        elif isinstance(event.data, str):
            made = StreamRecord("text", event.event or "", event.data.encode())
        else:
            data = dumps(event.data)
            exact = _ANYTHING.exact_json(event.data, data) if folds else b""
            made = StreamRecord("event", event.event or "", data, exact)
        if len(made.data) > event_bytes:
            raise ItemTooLarge(len(made.data), event_bytes)
        if made.name in reserved:
            raise ValueError(f"the event name {made.name!r} is reserved; use another name")
        return made

    return record


def _recorded_problem(error: BaseException) -> dict[str, Any]:
    """Return a failure as recorded: the problem, its `Retry-After`, and all its headers."""
    problem = problem_of(sendable(error) if isinstance(error, HTTPException) else error)
    body = problem.body
    if headers := list((problem.headers or {}).items()):
        body[HEADERS] = headers
    for name, value in headers:
        if name.lower() == "retry-after":
            body["retry_after"] = value
    if isinstance(error, HTTPException) and not isinstance(error, Problem):
        body[RAISED] = body.get("errors", body.get("detail"))
    return body
