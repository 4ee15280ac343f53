"""The item codec: validation and JSON of an item, as FastAPI's `response_model` does it."""

import dataclasses
import functools
import typing
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from dual_mode_streaming._feed_cache import FeedCache
from dual_mode_streaming._restoring import classes_of, exact_writer_of, narrowed, reader_of
from dual_mode_streaming._tags import Tags
from dual_mode_streaming.sse import RESERVED_EVENTS, ServerSentEvent, dumps, escape_line_separators


class SerializationOptions(typing.TypedDict, total=False):
    """FastAPI's `response_model_*` options, without the prefix."""

    by_alias: bool
    include: Any
    exclude: Any
    exclude_unset: bool
    exclude_defaults: bool
    exclude_none: bool


class ItemCodec:
    """Validate and serialise the items of one endpoint as FastAPI's `response_model` does.

    Args:
        item_type: the annotation of the items: a pydantic model, dataclass, TypedDict, or a union
            of them; with a discriminator its tags name the events. `Any` accepts every item.
        event_types: functions that convert event classes of other libraries to `ServerSentEvent`.
        options: the `response_model_*` options.
        invalid: makes the exception for an item that is not of the type; pydantic's own if None.

    Raises:
        ValueError: a tag of the union is a reserved event name.
    """

    def __init__(
        self,
        item_type: Any = Any,
        *,
        event_types: Mapping[type, Callable[[Any], ServerSentEvent]] | None = None,
        options: SerializationOptions | None = None,
        invalid: Callable[[Any, ValidationError], Exception] | None = None,
    ) -> None:
        self.invalid = invalid
        self.event_types = {ServerSentEvent: lambda event: event, **(event_types or {})}
        self.item_type = _without(item_type, self.event_types)
        self.tags = Tags.of(self.item_type)
        self.options: SerializationOptions = {"by_alias": True, **(options or {})}
        self._adapter = None if self.item_type is Any else TypeAdapter[Any](self.item_type)
        # Valid items are serialised by pydantic-core directly. Options take most of the time, so
        # they are left out where they make no difference.
        self.to_json: Callable[[Any], bytes] = dumps
        self._dump_options: Any = self.options
        if self._adapter is not None:
            if self.options == {"by_alias": True} and not may_have_aliases(
                self._adapter.core_schema
            ):
                self._dump_options = {}
            to_json = self._adapter.serializer.to_json
            self.to_json = (
                functools.partial(to_json, **self._dump_options) if self._dump_options else to_json
            )
        self._list_adapter: TypeAdapter[Any] | None = None
        # pydantic does not validate an instance of exactly the declared model, so neither does the
        # codec, unless the model sets `revalidate_instances`.
        self.exact: type | None = None
        if _is_model(self.item_type) and (
            self.item_type.model_config.get("revalidate_instances", "never") == "never"
        ):
            self.exact = self.item_type
        # The items of a feed that cannot change become JSON only once, for all its clients.
        frozen = self.exact is not None and self.item_type.model_config.get("frozen")
        self.json_of_feed = FeedCache(self.json) if frozen else self.to_json

    def json(self, item: Any) -> bytes:
        """Return the item as compact JSON on one line.

        Raises:
            ValidationError: pydantic's; the item is not of the declared type.
            PydanticSerializationError: the item cannot be serialised.
        """
        adapter = self._adapter
        if adapter is None:
            return dumps(item)
        if type(item) is not self.exact:
            item = self._valid(item, adapter)
        raw = self.to_json(item)
        return raw if raw.isascii() else escape_line_separators(raw)

    def exact_json(self, item: Any, shown: bytes) -> bytes:
        """Return the JSON of a valid item with NaN and infinities, for `parsed`; empty if none.

        Args:
            item: the item, or any value if it is not of the type.
            shown: its JSON, which has null for them.
        """
        if b"null" not in shown:
            return b""
        if self._adapter is None:
            exact = to_json(item, by_alias=True, inf_nan_mode="constants")
        else:
            exact = self._exact(self._valid(item, self._adapter), **self.options)
        exact = exact if exact.isascii() else escape_line_separators(exact)
        return b"" if exact == shown else exact

    @functools.cached_property
    def _exact(self) -> Callable[..., bytes]:
        assert self._adapter is not None
        return exact_writer_of(self._adapter)

    def named(self, item: Any) -> tuple[bytes, str | None]:
        """Return the item as JSON, and the name of its event if its type is a tagged union.

        Raises:
            ValueError: the tag is reserved; or as `json`.
        """
        adapter, tags = self._adapter, self.tags
        if adapter is None or tags is None:
            return self.json(item), None
        item = self._valid(item, adapter)
        raw = self.to_json(item)
        return escape_line_separators(raw), tags.tag(item)

    def validated(self, item: Any) -> Any:
        """Return the item as the declared type, for a fold. Events are returned unchanged.

        An instance of a subclass becomes one of the declared class, which the client sees too.

        Raises:
            ValidationError: pydantic's; the item is not of the declared type.
            ValueError: the name of an event is reserved.
        """
        adapter = self._adapter
        kind = type(item)
        if kind is self.exact or (adapter is None and kind not in self.event_types):
            return item
        if self.event(item) is not None or adapter is None:
            return item
        return narrowed(self._valid(item, adapter), self._classes)

    @functools.cached_property
    def parsed(self) -> Callable[[bytes], Any]:
        """The function from an item's JSON to the item, for a fold over a recording.

        Raises:
            TypeError: the JSON of an item does not contain all of it.
        """
        return from_json if self._adapter is None else reader_of(self._adapter, self.options)

    def folded(self, value: Any, result: TypeAdapter[Any] | None) -> bytes:
        """Return what a fold has returned as JSON, under the `response_model_*` options.

        `include` and `exclude` name fields of an item: they count where the fold returns items.

        Args:
            value: what the fold has returned.
            result: its declared type; None if it has none.

        Raises:
            ValidationError: pydantic's; the value is not of the declared type.
        """
        options: Any = dict(self.options)
        named = {name: options.pop(name) for name in ("include", "exclude") if name in options}
        if result is None or self._converter(value) is not None:
            value, result = self._filtered(value), _ANYTHING
            if self.members:
                named = {}  # they are applied already
        else:
            value = self._valid(value, result)
        if isinstance(value, self.members):
            options |= named
        elif isinstance(value, list):
            options |= {name: {"__all__": fields} for name, fields in named.items()}
        elif isinstance(value, dict) and not self.members:
            options["exclude"] = named.get("exclude")
        return escape_line_separators(result.dump_json(value, **options))

    def _filtered(self, value: Any) -> Any:
        """Return the result of a fold without a type, with the items in it as clients see them."""
        if (event := self.event(value)) is not None:
            return event
        if self._adapter is None or (type(value) in self._classes and not self._selects):
            return value
        if isinstance(value, self.members):
            return self._adapter.dump_python(value, mode="json", **self.options)
        if type(value) in (list, tuple):
            return [self._filtered(part) for part in value]
        if type(value) is dict:
            return {key: self._filtered(part) for key, part in value.items()}
        return narrowed(value, self._classes)

    @property
    def _selects(self) -> bool:
        """Whether `include` or `exclude` name fields of an item."""
        return "include" in self.options or "exclude" in self.options

    @functools.cached_property
    def members(self) -> tuple[type, ...]:
        """The classes that an item may be an instance of; none if its type has no classes."""
        return tuple(each for each in _members(self.item_type) if each in self._classes)

    @functools.cached_property
    def _classes(self) -> frozenset[type]:
        return frozenset() if self._adapter is None else classes_of(self._adapter.core_schema)

    def _valid(self, item: Any, adapter: TypeAdapter[Any]) -> Any:
        try:
            return adapter.validator.validate_python(item, from_attributes=True)
        except ValidationError as error:
            if self.invalid is None:
                raise
            raise self.invalid(item, error) from error

    def json_list(self, items: list[Any]) -> bytes:
        """Return the items as JSON, separated by commas, without brackets: a part of a batch."""
        exact: Any = self.exact
        if exact is None or self._selects or list(map(type, items)).count(exact) < len(items):
            parts = (self.data(item) for item in items)
            return b",".join(part for part in parts if part is not None)
        if self._list_adapter is None:
            # Fields of type Any are serialised by the settings of the outermost type.
            config: Any = {k: v for k, v in exact.model_config.items() if k.startswith("ser_json_")}
            self._list_adapter = TypeAdapter(list[exact], config=config)
        raw = self._list_adapter.serializer.to_json(items, **self._dump_options)[1:-1]
        return raw if raw.isascii() else escape_line_separators(raw)

    def event(self, item: Any) -> ServerSentEvent | None:
        """Return the item as a ServerSentEvent if it is of an event class; else None."""
        convert = self._converter(item)
        if convert is None:
            return None
        event = convert(item)
        if event.event in RESERVED_EVENTS:  # in a batch too, where no event is sent
            raise ValueError(
                f"the event name {event.event!r} is reserved "
                f"({', '.join(sorted(RESERVED_EVENTS))}); use another name"
            )
        if self._adapter is not None and isinstance(event.data, self.members):
            data = self._adapter.dump_python(event.data, mode="json", **self.options)
            return dataclasses.replace(event, data=data)
        return event

    def _converter(self, item: Any) -> Callable[[Any], ServerSentEvent] | None:
        for base in type(item).__mro__:  # a subclass of an event class is one too
            if (convert := self.event_types.get(base)) is not None:
                return convert
        return None

    def data(self, item: Any) -> bytes | None:
        """Return the item's JSON for a batch or a line; None for an event without data."""
        if type(item) is self.exact:
            return self.json(item)
        event = self.event(item)
        if event is None:
            return self.json(item)
        return None if event.data is None else dumps(event.data)


_ANYTHING: Final = TypeAdapter[Any](Any, config={"ser_json_inf_nan": "null"})


def _is_model(item_type: Any) -> bool:
    return isinstance(item_type, type) and issubclass(item_type, BaseModel)


def _members(item_type: Any) -> list[Any]:
    """Return the types of which a type is a union; the type itself if it is none."""
    if get_origin(item_type) is Annotated:
        return _members(get_args(item_type)[0])
    if get_origin(item_type) in (Union, UnionType):
        return [each for member in get_args(item_type) for each in _members(member)]
    return [item_type]


def _without(item_type: Any, event_types: Mapping[type, Any]) -> Any:
    """Return the declared type without event classes, which are not validated."""
    classes = tuple(event_types)

    def is_event(member: Any) -> bool:
        return isinstance(member, type) and issubclass(member, classes)

    if is_event(item_type):
        return Any
    if get_origin(item_type) not in (Union, UnionType):
        return item_type
    members = tuple(member for member in get_args(item_type) if not is_event(member))
    return Union[members] if members else Any  # noqa: UP007  (built at run time)


# Core schemas that alone determine the JSON of a value. Others may depend on more: `any` on the
# type of the value, a function on `info.by_alias`.
_PLAIN: Final = frozenset(
    (
        *("model", "model-fields", "model-field", "dataclass", "dataclass-args", "dataclass-field"),
        *("typed-dict", "typed-dict-field", "definitions", "definition-ref", "default", "nullable"),
        *("list", "tuple", "set", "frozenset", "dict", "union", "tagged-union", "literal"),
        *("none", "bool", "int", "float", "decimal", "str", "bytes", "date", "time", "datetime"),
        *("timedelta", "uuid"),
    )
)
_NESTED: Final = (
    *("schema", "fields", "items_schema", "keys_schema", "values_schema", "extras_schema"),
    *("choices", "definitions", "computed_fields"),
)


def may_have_aliases(schema: Any) -> bool:
    """Return False if `by_alias` makes no difference to the values of this core schema."""
    if not isinstance(schema, dict) or schema.get("type") not in _PLAIN:
        return True
    if "serialization_alias" in schema or "serialization" in schema:
        return True
    config = schema.get("config", {})
    if "allow" in (schema.get("extra_behavior"), config.get("extra_fields_behavior")):
        return True  # extra fields may be of any type
    return any(may_have_aliases(part) for key in _NESTED for part in _parts(schema.get(key)))


def _parts(within: Any) -> Any:
    """Yield the schemas within a part of another: one, a sequence, or a mapping of fields."""
    if within is None:
        return ()
    if isinstance(within, dict):  # "type" is the name of a field if its value is a schema
        return (within,) if isinstance(within.get("type"), str) else within.values()
    return (part[0] if isinstance(part, tuple) else part for part in within)
