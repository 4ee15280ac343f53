"""An item becomes JSON, and JSON becomes the frame of a mode: the only way from value to wire.

`ItemCodec` knows the declared item type; `EventFrames` and `LineFrames` know the wire format of one
streamed answer. A batch is the same JSON in one list, so that the law holds by construction: what a
client folds from the frames is what the batch body says.
"""

import functools
import typing
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic_core import from_json

from dual_mode_streaming._aliases import may_have_aliases
from dual_mode_streaming._encoded_once import EncodedOnce
from dual_mode_streaming._tags import Tags
from dual_mode_streaming.sse import RESERVED_EVENTS, ServerSentEvent, dumps, escape_line_separators

__all__ = [
    "EventFrames",
    "ItemCodec",
    "LineFrames",
    "SerializationOptions",
]


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
        # What many readers get, and never changes, becomes JSON only once.
        frozen = self.exact is not None and self.item_type.model_config.get("frozen")
        self.json_of_feed = EncodedOnce(self.json) if frozen else self.to_json

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


class EventFrames:
    """The frames of one answer as Server-Sent Events: items with ids, then `done` or `error`.

    Ids are `<run>.<n>`, n counting the items from 1; an event's own id replaces ours. `count` says
    how many items there were; an event without data (a comment, a retry) is not an item. With
    `feed` the JSON of frozen items is shared with all who read by this codec.
    """

    __slots__ = (
        "_codec",
        "_error_event",
        "_exact",
        "_json",
        "_reserved",
        "_run",
        "_template",
        "count",
    )

    heartbeat: Final = b": ping\n"  # one LF: a blank line makes strict clients see an empty event

    def __init__(
        self, codec: ItemCodec, run: str, *, error_event: str = "error", feed: bool = False
    ) -> None:
        self._codec = codec
        self._run = run
        self._error_event = error_event
        own = {error_event} - RESERVED_EVENTS
        self._reserved = RESERVED_EVENTS | own if own else RESERVED_EVENTS
        self._template = b"id: " + run.encode() + b".%d\ndata: %b\n\n"
        self._exact = codec.exact
        self._json = codec.json_of_feed if feed else codec.to_json
        self.count = 0

    def opening(self, *, retry: int | None = None, reset: Any = None) -> bytes:
        """What stands before the first item: the reconnection time, and that history is lost."""
        frames = b"" if retry is None else ServerSentEvent(retry=retry).encode()
        if reset is not None:
            frames += ServerSentEvent(event="reset", data=dumps(reset).decode()).encode()
        return frames

    def item(self, item: Any) -> bytes:
        """The frame of one item. Raises as `ItemCodec.json`; ValueError for a reserved name."""
        if type(item) is self._exact:  # the fast path: one model, valid, no name, our id
            data = self._json(item)
            if not data.isascii():
                data = escape_line_separators(data)
            self.count = number = self.count + 1
            return self._template % (number, data)
        codec = self._codec
        event = codec.event(item)
        if event is None:
            data, name = codec.named(item)
            self._check_name(name)
            self.count += 1
            frame = self._template % (self.count, data)
            return frame if name is None else b"event: %b\n%b" % (name.encode(), frame)
        self._check_name(event.event)
        frame = event.encode()
        if event.data is None:
            return frame
        self.count += 1
        if event.id is not None:
            return frame
        return b"id: %b.%d\n%b" % (self._run.encode(), self.count, frame)

    def _check_name(self, name: str | None) -> None:
        if name in self._reserved:
            raise ValueError(
                f"the event name {name!r} is reserved "
                f"({', '.join(sorted(self._reserved))}); name the event otherwise"
            )

    def done(self) -> bytes:
        """The end of a whole answer; its id tells a reconnecting EventSource to stop."""
        return b'event: done\nid: %b.end\ndata: {"items":%d}\n\n' % (self._run.encode(), self.count)

    def failed(self, problem: Mapping[str, Any], *, final: bool = True) -> bytes:
        """The end of a failed answer, an RFC 9457 problem as data.

        `final=False` leaves out the id of the end, so that an EventSource comes again.
        """
        return self._terminal(self._error_event, dumps(problem), final=final)

    def _terminal(self, event: str, data: bytes, *, final: bool) -> bytes:
        end_id = f"{self._run}.end" if final else None
        return ServerSentEvent(event=event, id=end_id, data=data.decode()).encode()


class LineFrames:
    """The frames of one answer as JSON Lines: an item a line, and nothing else.

    There is no frame for an end or an error: success is the clean end of the transfer, a failure
    breaks it; and none for a heartbeat, since a strict reader parses every line.
    """

    __slots__ = ("_codec", "count")

    heartbeat: Final = b""

    def __init__(self, codec: ItemCodec) -> None:
        self._codec = codec
        self.count = 0

    def opening(self, *, retry: int | None = None, reset: Any = None) -> bytes:
        """Nothing: a line format has no place for either."""
        return b""

    def item(self, item: Any) -> bytes:
        """The line of one item; empty for an event that carries no data."""
        data = self._codec.data(item)
        if data is None:
            return b""
        self.count += 1
        return data + b"\n"

    def done(self) -> bytes:
        """Nothing: the transfer's clean end says it."""
        return b""

    def failed(self, problem: Mapping[str, Any], *, final: bool = True) -> None:
        """None: only a broken transfer can say it."""
        return


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
