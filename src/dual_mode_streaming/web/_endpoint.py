"""The decorator `dual_mode`: what gives an iterator becomes a path operation with all modes.

FastAPI sees a coroutine function with the function's parameters and two hidden ones, the request
and the injected response. The stream flag is read from the query directly, since as a parameter it
would take FastAPI as long as the rest of the negotiation. FastAPI must not see the generator: it
would follow `__wrapped__` and answer with empty JSON Lines (0.165).
"""

import inspect
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from types import FrameType, MappingProxyType
from typing import Annotated, Any, Unpack, overload

from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from dual_mode_streaming.negotiation import Negotiated, ResponseMode
from dual_mode_streaming.rendering import Fold, WireFormat
from dual_mode_streaming.web._cursors import cursor_read, takes_cursor
from dual_mode_streaming.web._options import Options, resolved_options
from dual_mode_streaming.web._output import Output, refuse_sse_class
from dual_mode_streaming.web._response import DualModeResponse
from dual_mode_streaming.web._signatures import described, parameter_of, resolved
from dual_mode_streaming.web._sources import source_of
from dual_mode_streaming.web._spec import EndpointSpec, Record, attach_spec, spec_of
from dual_mode_streaming.web._stream_flag import StreamFlag
from dual_mode_streaming.web._typed import Decorator, Endpoint, FoldDecorator, P, R, T
from dual_mode_streaming.web._wired import answer_wired, check_wire, wire_form
from dual_mode_streaming.web.recorded._endpoint import answer_recorded
from dual_mode_streaming.web.recorded._operation import parameter_adapters
from dual_mode_streaming.web.recorded._wired import add_operations


@overload
def dual_mode(function: Callable[P, R], /) -> Endpoint[P, R]: ...
@overload
def dual_mode(
    *,
    fold: Callable[[AsyncIterator[T]], Awaitable[Any]],
    stream_flag: str | None = "stream",
    handles_last_event_id: bool | None = None,
    record: bool | Record = False,
    wire: WireFormat | None = None,
    **options: Unpack[Options],
) -> FoldDecorator[T]: ...
@overload
def dual_mode(
    *,
    fold: None = None,
    stream_flag: str | None = "stream",
    handles_last_event_id: bool | None = None,
    record: bool | Record = False,
    wire: WireFormat | None = None,
    **options: Unpack[Options],
) -> Decorator: ...
def dual_mode(
    function: Callable[..., Any] | None = None,
    /,
    *,
    fold: Fold | None = None,
    stream_flag: str | None = "stream",
    handles_last_event_id: bool | None = None,
    record: bool | Record = False,
    wire: WireFormat | None = None,
    **options: Unpack[Options],
) -> Any:
    """Serve an async generator function as batch JSON, Server-Sent Events and JSON Lines.

    Use it directly below a FastAPI route decorator, with or without arguments. Each request calls
    the function; the response closes the generator. A plain generator runs in a thread.

    All else that gives an iterator works too: functions, `async def` or not, that return one, or a
    context manager that gives one; methods, partials, callable objects and wrapped functions. What
    they return is closed by the response. A `Response` that they return is passed on.

    Args:
        function: the function. The annotation of its items is their schema. The decorated function
            keeps it as `.generator`.
        fold: an async function from the async iterator of items to the batch body. It may return
            before the items end. Its return annotation is the schema of the batch. By default the
            body is `{"data": [item, ...]}`.
        stream_flag: the name of the query parameter that sets the mode and wins over Accept; None
            for no flag. A parameter of the function, or a field of a body, with that name or alias
            is used too: the first body that has it counts (a model, a dataclass or a dict).
        handles_last_event_id: whether the function itself continues after a Last-Event-ID. By
            default it does if it, or a dependency, has a parameter for the header `Last-Event-ID`,
            or for the query `last_event_id` or `lastEventId`.
        record: record the items in the app's store (see `install`). The generator then continues
            when its client leaves, and clients can resume or join the stream. A `Record` has
            the details.
        wire: a foreign format of the stream, such as `UIMessageStream()`. It is the answer unless
            Accept names JSON or the stream flag is given, which select the package's own. If the
            endpoint is recorded, it has the path operations `.resume` and `.stop`.
        options: see `Options`. They win over the options of `install`.

    Returns:
        The path operation for FastAPI, or a decorator if no function is given.

    Raises:
        TypeError: the function gives no iterator, an annotation cannot be resolved, there is no
            such option, or `wire` is no wire format.
        ValueError: an option is out of range, or a tag of the items' union is a reserved event
            name.
    """

    def decorate(function: Any) -> Any:
        if isinstance(function, staticmethod | classmethod):
            return type(function)(decorate(function.__func__))
        return _path_operation(
            _specification(
                function, fold, stream_flag, handles_last_event_id, record, wire, options
            )
        )

    resolved_options(options)  # a wrong option is an error here
    check_wire(wire)
    if fold is not None and not callable(fold):
        raise TypeError(f"a fold is an async function of the async iterator of items, not {fold!r}")
    if inspect.isasyncgenfunction(fold) or inspect.isgeneratorfunction(fold):
        raise TypeError(f"the fold {fold.__qualname__} must return the batch body, not yield it")
    return decorate if function is None else decorate(function)


def _specification(
    function: Callable[..., Any],
    fold: Fold | None,
    stream_flag: str | None,
    handles_last_event_id: bool | None,
    record: bool | Record,
    wire: WireFormat | None,
    options: Options,
) -> EndpointSpec:
    """Return the arguments of the decorator as a specification, with all annotations resolved."""
    signature, returns = _signature_of(function)
    source = source_of(function, signature, returns)
    name = described(function)["__qualname__"]
    output = Output.of(
        name,
        returns,
        fold,
        recorded=bool(record),
        options={} if wire is None else {"exclude_none": True},  # events have many fields
    )
    if handles_last_event_id is None:
        handles_last_event_id = takes_cursor(signature.parameters.values())
    return EndpointSpec(
        function=function,
        source_of=source,
        signature=signature,
        output=output,
        stream_flag=StreamFlag(stream_flag, signature),
        handles_last_event_id=handles_last_event_id,
        record=Record() if record is True else record or None,
        options=options,
        wire=wire,
    )


def _path_operation(spec: EndpointSpec) -> Callable[..., Any]:
    """Return the coroutine function that FastAPI calls for each request."""
    signature = spec.signature
    parameters = dict(signature.parameters)
    if spec.record is not None:
        parameter_adapters(spec)  # a parameter that cannot be stored is an error here
        parameters.pop("resume_from", None)
    if takes_cursor(parameters.values()):
        parameters = _with_cursor_read(parameters)
    request_name = parameter_of(parameters, Request) or _add(parameters, "request", Request)
    response_name = parameter_of(parameters, Response) or _add(parameters, "response", Response)
    hidden = parameters.keys() - signature.parameters.keys()
    description = described(spec.function)
    name = description["__qualname__"]

    async def endpoint(*bound: Any, **values: Any) -> Response:
        if bound:  # a method: the object is the first argument
            values = dict(zip(signature.parameters, bound, strict=False)) | values
        try:
            request, injected = values[request_name], values[response_name]
        except KeyError:
            raise TypeError(
                f"{name} is a path operation, which FastAPI calls for an HTTP request; call "
                f"{name}.generator(...) for its items, or use a TestClient"
            ) from None
        for each in hidden:
            del values[each]
        mode: Any = spec.stream_flag.mode(request, values)
        route = request.scope.get("route")
        if mode is None and request.method not in ("GET", "HEAD"):
            mode = await spec.stream_flag.mode_of_dependencies(request)
        if spec.wire is not None:
            mode = wire_form(spec.wire, request, mode)
            if isinstance(mode, Negotiated) and mode.mode is ResponseMode.STREAM:
                return await answer_wired(spec, spec.wire, request, values, mode, injected)
        if spec.record is not None:
            return await answer_recorded(spec, request, values, mode=mode, injected=injected)
        return DualModeResponse(
            spec.source(values),
            mode=mode,
            stream_flag=None,
            representation=spec.representation_of(route),
            status_code=getattr(route, "status_code", None) or 200,
            injected=injected,
            request=request,
            handles_last_event_id=spec.handles_last_event_id,
            **spec.options,
        )

    for attribute, value in description.items():
        setattr(endpoint, attribute, value)
    ordered = sorted(parameters.values(), key=lambda parameter: parameter.kind)
    endpoint.__signature__ = _Signature(  # type: ignore[attr-defined]
        ordered, return_annotation=spec.batch_type
    )
    endpoint.__annotations__ = {p.name: p.annotation for p in ordered}
    endpoint.generator = spec.function  # type: ignore[attr-defined]
    attach_spec(endpoint, spec)
    add_operations(endpoint, spec)
    return endpoint


def _signature_of(function: Any) -> tuple[inspect.Signature, Any]:
    """Return the signature and the return annotation. Raises TypeError if FastAPI cannot use it."""
    if not callable(function):
        raise TypeError(f"dual_mode needs a function that gives an iterator, not {function!r}")
    name = described(function)["__qualname__"]
    if spec_of(function) is not None:
        raise TypeError(f"{name} is decorated with dual_mode already; decorate {name}.generator")
    signature, returns = resolved(function)
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(
                f"{name} takes {parameter}, which FastAPI cannot fill; name its parameters, or use "
                "functools.wraps in the decorator that made it"
            )
    return signature, returns


class _Signature(inspect.Signature):
    """The signature of a path operation. FastAPI reads it when it makes a route.

    In an app without `install` that is the only moment to see a `response_class` with which it
    would never await the path operation.
    """

    __slots__ = ()

    @property
    def parameters(self) -> MappingProxyType[str, inspect.Parameter]:
        """The parameters. Raises TypeError within a route that cannot be served."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_globals.get("__name__") == "fastapi.routing":
                declared = frame.f_locals
                if "response_class" in declared:
                    refuse_sse_class(declared["response_class"], f"the route {declared['path']}")
                    break
            frame = frame.f_back
        return super().parameters


def _with_cursor_read(parameters: dict[str, inspect.Parameter]) -> dict[str, inspect.Parameter]:
    """Return the parameters with a hidden dependency before all others, but after `self`."""
    bound = {name: each for name, each in parameters.items() if name in ("self", "cls")}
    name = _add(bound, "cursor", Annotated[Any, Depends(cursor_read)])
    bound[name] = bound[name].replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return bound | parameters


def _add(parameters: dict[str, inspect.Parameter], name: str, annotation: Any) -> str:
    """Add a hidden parameter, and return its name, which the function does not use."""
    name = f"dual_mode_{name}"
    parameters[name] = inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation
    )
    return name
