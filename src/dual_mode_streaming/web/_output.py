"""What was declared about the output of an endpoint, at the decorator and at its route."""

import contextlib
import dataclasses
import inspect
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from types import UnionType
from typing import Annotated, Any, Final, Generic, TypeVar, Union, cast, get_args, get_origin

from fastapi.datastructures import DefaultPlaceholder
from fastapi.exceptions import ResponseValidationError
from fastapi.sse import EventSourceResponse
from pydantic import BaseModel, TypeAdapter, ValidationError

from dual_mode_streaming.rendering import Fold, ItemCodec, Representation, SerializationOptions
from dual_mode_streaming.running.owner import logger
from dual_mode_streaming.web._compat import EVENT_TYPES
from dual_mode_streaming.web._item_type import (
    NotItems,
    elements_of,
    filled_for,
    item_type_of,
    plain,
)
from dual_mode_streaming.web._signatures import resolved

T = TypeVar("T")

_CONTAINERS: Final = (
    *(list, tuple, set, frozenset, deque, dict, OrderedDict, defaultdict, Mapping, MutableMapping),
    *(Sequence, Iterable, Annotated, Union, UnionType),
)
_KNOWN_CLASSES: Final = ("fastapi.", "starlette.", "sse_starlette.")


class BatchOf(BaseModel, Generic[T]):
    """The batch body of an endpoint without a fold: all items, in order."""

    data: list[T]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The output of an endpoint as its decorator knows it.

    Attributes:
        name: the name of the function, for errors.
        representation: how its items become JSON, events and the batch body.
        batch_type: the type of the batch body, for its schema.
        annotated: whether the function has a return annotation.
        recorded: whether it is recorded, so that a fold reads JSON.
        options: how its items become JSON, beside the options of a route.
        error: why the annotation alone cannot be used, if it cannot; a `response_model` can.
    """

    name: str
    representation: Representation
    batch_type: Any
    annotated: bool
    recorded: bool
    options: SerializationOptions
    error: str | None

    @classmethod
    def of(
        cls,
        name: str,
        returns: Any,
        fold: Fold | None,
        *,
        recorded: bool,
        options: SerializationOptions,
    ) -> "Output":
        """Return the output of a function with this return annotation; None is no annotation.

        Raises:
            TypeError: the annotation does not say what the items are, or the fold cannot have them.
            ValueError: a tag of the items' union is a reserved event name.
        """
        error = None
        try:
            item_type = Any if returns is None else item_type_of(returns)
        except TypeError as unknown:
            if not inspect.isclass(returns) or not _is_undeclared(name, returns):
                raise TypeError(
                    f"{name}: {unknown}; annotate AsyncIterator[...] of the type of the items, or "
                    "of Any"
                ) from None
            item_type = Any
        try:
            codec = _codec(item_type, options)
        except ValueError:  # of a tag
            raise
        except Exception as reason:
            codec, first_line = _codec(Any, options), str(reason).partition("\n")[0]
            error = (
                f"{name}: the items cannot be {item_type!r}, of which pydantic makes no schema "
                f"({first_line}); annotate AsyncIterator[...] of a type of pydantic, or of Any, "
                "or give the route a response_model=list[...]"
            )
        batch_type, result = _batch(codec, fold)
        if error is not None and fold is None:
            batch_type = _unusable(error)
        output = cls(
            name=name,
            representation=Representation(codec, fold, result),
            batch_type=batch_type,
            annotated=returns is not None,
            recorded=recorded,
            options=options,
            error=error,
        )
        output._check_fold(output.representation)
        return output

    def under(self, route: Any) -> Representation:
        """Return the representation under the `response_model…` options of a route.

        Raises:
            TypeError: a stream cannot be what the route declares.
        """
        representation = self.representation
        declared = getattr(route, "response_model", self.batch_type)
        if declared is None or declared is self.batch_type:
            if self.error is not None and declared is not None:
                raise TypeError(self.error)
            item_type = representation.codec.item_type
        else:
            item_type = self._declared(declared)
            if representation.fold is not None:
                result = TypeAdapter(declared)
                representation = dataclasses.replace(representation, fold_result=result)
        options: SerializationOptions = {**self.options, **_serialization(route)}
        if options != self.options or item_type is not representation.codec.item_type:
            codec = _codec(item_type, options)
            representation = dataclasses.replace(representation, codec=codec)
        self._check_fold(representation)
        return representation

    def _declared(self, model: Any) -> Any:
        """Return the item type under a `response_model`, which wins over the annotation."""
        own = self.representation.codec.item_type
        if self.representation.fold is not None:
            if not self.annotated:
                raise TypeError(
                    f"{self.name}: response_model is what the fold returns, and nothing says what "
                    "the items of the stream are; annotate AsyncIterator[...] of their type"
                )
            with contextlib.suppress(NotItems):  # what the fold returns need not be items
                return _narrower(own, _classes_in(elements_of(model, own)))
            return own
        try:
            return elements_of(model, own)
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}") from None

    def _check_fold(self, representation: Representation) -> None:
        """Raise TypeError if a fold cannot have the items of a recording."""
        if not self.recorded or representation.fold is None:
            return
        try:
            representation.codec.parsed  # noqa: B018  (it is made now)
        except TypeError as error:
            raise TypeError(
                f"{self.name}: a fold over a recording reads the items from their JSON, and "
                f"{error}; yield a type that JSON shows whole, or remove the fold"
            ) from None


def check_route(route: Any, output: Output) -> None:
    """Check what a route, as FastAPI sees it, declares about the output of its endpoint.

    Raises:
        TypeError: it cannot be honoured.
    """
    try:
        output.under(route)
    except Exception as error:  # pydantic has several
        raise TypeError(f"{route.path}: {str(error).partition(chr(10))[0]}") from error
    kind = getattr(route, "response_class", None)
    kind = kind.value if isinstance(kind, DefaultPlaceholder) else kind
    if not isinstance(kind, type):
        return
    refuse_sse_class(kind, f"the route {route.path} of {output.name}")
    if not f"{kind.__module__}.".startswith(_KNOWN_CLASSES):
        logger.warning(
            "%s: response_class=%s is not used by %s, which makes its own JSON and streams",
            *(route.path, kind.__name__, output.name),
        )


def refuse_sse_class(kind: Any, route: str) -> None:
    """Raise TypeError if FastAPI would read an endpoint as a generator of its own.

    Its answer would be an empty event stream with the status 200, and no error.
    """
    kind = kind.value if isinstance(kind, DefaultPlaceholder) else kind
    if isinstance(kind, type) and issubclass(kind, EventSourceResponse):
        raise TypeError(
            f"remove response_class={kind.__name__} from {route}, or default_response_class from "
            "its router or app (or set response_class=JSONResponse on the route): FastAPI would "
            "read the endpoint as its own generator. dual_mode makes the event stream itself"
        )


def _codec(item_type: Any, options: SerializationOptions | None = None) -> ItemCodec:
    return ItemCodec(item_type, event_types=EVENT_TYPES, options=options, invalid=_invalid)


def _invalid(item: Any, error: ValidationError) -> ResponseValidationError:
    """Return FastAPI's exception for an item that is not of the declared type."""
    errors = [
        {**each, "loc": ("response", *each["loc"])} for each in error.errors(include_url=False)
    ]
    return ResponseValidationError(errors, body=item)


def _batch(codec: ItemCodec, fold: Fold | None) -> tuple[Any, TypeAdapter[Any] | None]:
    """Return the type of the batch body, and the adapter of a fold's result if it has a type."""
    if fold is None:
        return BatchOf[codec.item_type], None  # type: ignore[name-defined]
    signature, returns = resolved(fold)
    if returns is None:
        return Any, None
    items = [parameter.annotation for parameter in signature.parameters.values()]
    given = items[0] if items and items[0] is not inspect.Parameter.empty else None
    returns = plain(filled_for(returns, given, codec.item_type))
    return returns, None if returns is Any else TypeAdapter(returns)


def _is_undeclared(name: str, cls: type) -> bool:
    """Return whether a class is itself the decorated callable, so that nobody annotated it."""
    return cls.__qualname__ == name


def _classes_in(item_type: Any) -> frozenset[Any]:
    """Return the models and dataclasses that an item may be, or contain in lists and dicts."""
    if get_origin(item_type) in _CONTAINERS:
        return frozenset().union(*map(_classes_in, get_args(item_type)))
    is_class = isinstance(item_type, type) and (
        issubclass(item_type, BaseModel) or dataclasses.is_dataclass(item_type)
    )
    return frozenset([item_type] if is_class else ())


def _narrower(item_type: Any, classes: frozenset[Any]) -> Any:
    """Return an item type with subclasses of the given classes as those classes."""
    origin = get_origin(item_type)
    if origin in _CONTAINERS:
        parts = tuple(_narrower(part, classes) for part in get_args(item_type))
        return (Union if origin is UnionType else origin)[parts]
    for base in getattr(item_type, "__mro__", ()):
        if base in classes:
            return base
    return item_type


def _unusable(error: str) -> Any:
    """Return a type that FastAPI refuses with this error when a route declares no other."""

    def refuse(*_: Any) -> Any:
        raise TypeError(error)

    return type("Unusable", (), {"__get_pydantic_core_schema__": refuse})


def _serialization(route: Any) -> SerializationOptions:
    """Return the route's `response_model_*` options that differ from FastAPI's defaults."""
    options: dict[str, Any] = {}
    for name in ("include", "exclude", "exclude_unset", "exclude_defaults", "exclude_none"):
        if value := getattr(route, f"response_model_{name}", None):
            options[name] = _of_items(name, value) if name in ("include", "exclude") else value
    if not getattr(route, "response_model_by_alias", True):
        options["by_alias"] = False
    return cast(SerializationOptions, options)


def _of_items(name: str, paths: Any) -> Any:
    """Return the paths within an item of `include` or `exclude`, which may be those of a list.

    FastAPI's routes give the paths of the whole body: `{"__all__": ...}` for a list, and
    `{"data": {"__all__": ...}}` for the batch body.

    Raises:
        TypeError: they name single items of the list, or the list itself.
    """
    inner = paths
    if isinstance(inner, Mapping) and set(inner) == {"data"} and isinstance(inner["data"], Mapping):
        inner = inner["data"] if "__all__" in inner["data"] else inner
    named = set(inner)
    if "__all__" not in named and not any(isinstance(each, int) for each in named):
        return paths
    within = inner["__all__"] if isinstance(inner, Mapping) and named == {"__all__"} else None
    if within is None or isinstance(within, bool) or within is ...:
        raise TypeError(
            f"response_model_{name}={paths!r} chooses among the items of the body; name the fields "
            f"of an item: response_model_{name}={{...}}"
        )
    return within
