"""The item codec: validates an item and makes its JSON, as FastAPI's `response_model` would."""

import functools
import typing
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic_core import from_json

from dual_mode_streaming._tags import Tags
from dual_mode_streaming.sse import ServerSentEvent, dumps, escape_line_separators

__all__ = ["ItemCodec", "SerializationOptions", "may_have_aliases"]


class SerializationOptions(typing.TypedDict, total=False):
    """How items are serialised: FastAPI's `response_model_*` options without the prefix."""

    by_alias: bool
    include: Any
    exclude: Any
    exclude_unset: bool
    exclude_defaults: bool
    exclude_none: bool


class ItemCodec:
    """Validate and serialise the items of one endpoint as FastAPI's `response_model` would.

    `item_type` is the annotation of the items: a pydantic model, dataclass, TypedDict, a union of
    them (with a discriminator the tag names the events), or `Any` for whatever comes.
    `event_types` tells how to read other libraries' event classes as ours.

    Raises ValueError if a tag of the union is a reserved event name.
    """

    def __init__(
        self,
        item_type: Any = Any,
        *,
        event_types: Mapping[type, Callable[[Any], ServerSentEvent]] | None = None,
        options: SerializationOptions | None = None,
    ) -> None:
        self.event_types = {ServerSentEvent: lambda event: event, **(event_types or {})}
        self.item_type = _without(item_type, self.event_types)
        self.tags = Tags.of(self.item_type)
        self.options: SerializationOptions = {"by_alias": True, **(options or {})}
        self._adapter = None if self.item_type is Any else TypeAdapter[Any](self.item_type)
        # Straight into pydantic-core, for items that are valid; options that say nothing cost most.
        self.to_json: Callable[[Any], bytes] = dumps
        self._said: Any = self.options
        if self._adapter is not None:
            if self.options == {"by_alias": True} and not may_have_aliases(
                self._adapter.core_schema
            ):
                self._said = {}
            to_json = self._adapter.serializer.to_json
            self.to_json = functools.partial(to_json, **self._said) if self._said else to_json
        self._list_adapter: TypeAdapter[Any] | None = None
        # An instance of exactly the declared model needs no validation: pydantic would return it
        # as it is. (With `revalidate_instances` it would not, so then there is no such class.)
        self.exact: type | None = None
        if _is_model(self.item_type) and (
            self.item_type.model_config.get("revalidate_instances", "never") == "never"
        ):
            self.exact = self.item_type

    def json(self, item: Any) -> bytes:
        """The item as compact JSON on one line.

        Raises pydantic's ValidationError if the item is not of the declared type, and
        PydanticSerializationError if there is no JSON for it.
        """
        adapter = self._adapter
        if adapter is None:
            return dumps(item)
        if type(item) is not self.exact:
            item = adapter.validator.validate_python(item, from_attributes=True)
        raw = self.to_json(item)
        return raw if raw.isascii() else escape_line_separators(raw)

    def named(self, item: Any) -> tuple[bytes, str | None]:
        """The same, with the name of the item's event if the declared type gives it one.

        Raises ValueError too, for a tag that is reserved.
        """
        adapter, tags = self._adapter, self.tags
        if adapter is None or tags is None:
            return self.json(item), None
        item = adapter.validator.validate_python(item, from_attributes=True)
        raw = self.to_json(item)
        return escape_line_separators(raw), tags.tag(item)

    def validated(self, item: Any) -> Any:
        """The item as the declared type, for a fold; events pass as they are.

        Raises pydantic's ValidationError.
        """
        if self._adapter is None or type(item) is self.exact or self._converter(item) is not None:
            return item
        return self._adapter.validate_python(item, from_attributes=True)

    def parsed(self, raw: bytes) -> Any:
        """The item that JSON was made of. Raises pydantic's ValidationError."""
        return from_json(raw) if self._adapter is None else self._adapter.validate_json(raw)

    def json_list(self, items: list[Any]) -> bytes:
        """The items as JSON, comma-separated, without the brackets: a part of a batch."""
        exact: Any = self.exact
        by_item = "include" in self.options or "exclude" in self.options  # they name its fields
        if exact is None or by_item or list(map(type, items)).count(exact) < len(items):
            parts = (self.data(item) for item in items)
            return b",".join(part for part in parts if part is not None)
        if self._list_adapter is None:
            # Fields of type Any are serialised by the settings of what is outermost.
            config: Any = {k: v for k, v in exact.model_config.items() if k.startswith("ser_json_")}
            self._list_adapter = TypeAdapter(list[exact], config=config)
        raw = self._list_adapter.serializer.to_json(items, **self._said)[1:-1]
        return raw if raw.isascii() else escape_line_separators(raw)

    def event(self, item: Any) -> ServerSentEvent | None:
        """The item as an event if it is of an event class, ours or another's; else None."""
        convert = self._converter(item)
        return None if convert is None else convert(item)

    def _converter(self, item: Any) -> Callable[[Any], ServerSentEvent] | None:
        for base in type(item).__mro__:  # a user's subclass of an event is one
            if (convert := self.event_types.get(base)) is not None:
                return convert
        return None

    def data(self, item: Any) -> bytes | None:
        """What a batch or a line says of the item; None if it is an event that carries no data."""
        if type(item) is self.exact:
            return self.json(item)
        event = self.event(item)
        if event is None:
            return self.json(item)
        return None if event.data is None else dumps(event.data)


def _is_model(item_type: Any) -> bool:
    return isinstance(item_type, type) and issubclass(item_type, BaseModel)


def _without(item_type: Any, event_types: Mapping[type, Any]) -> Any:
    """The declared type less the event classes, which are framed as they are, not validated."""
    classes = tuple(event_types)

    def is_event(member: Any) -> bool:
        return isinstance(member, type) and issubclass(member, classes)

    if is_event(item_type):
        return Any
    if get_origin(item_type) not in (Union, UnionType):
        return item_type
    members = tuple(member for member in get_args(item_type) if not is_event(member))
    return Union[members] if members else Any  # noqa: UP007  (built at run time)


# Schemas that say all there is to know of how a value becomes JSON. Any other kind may do as it
# likes: `any` goes by the value's own type, a function may ask for `info.by_alias`.
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
    """False if `by_alias` can make no difference to a value of this core schema."""
    if not isinstance(schema, dict) or schema.get("type") not in _PLAIN:
        return True
    if "serialization_alias" in schema or "serialization" in schema:
        return True
    config = schema.get("config", {})
    if "allow" in (schema.get("extra_behavior"), config.get("extra_fields_behavior")):
        return True  # what is extra may be of any type
    return any(may_have_aliases(part) for key in _NESTED for part in _parts(schema.get(key)))


def _parts(within: Any) -> Any:
    """The schemas in one place of another: one, several, or those of named fields."""
    if within is None:
        return ()
    if isinstance(within, dict):  # a field may be named "type"; its value is then no name of a kind
        return (within,) if isinstance(within.get("type"), str) else within.values()
    return (part[0] if isinstance(part, tuple) else part for part in within)
