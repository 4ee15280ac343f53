"""From item to wire: an item becomes JSON, and JSON becomes a frame of a wire format.

`ItemCodec` knows the declared item type. `Frames` is the protocol of a wire format; `EventFrames`
and `LineFrames` are ours. A batch is the same JSON in one list, so that the law holds by
construction: what a client folds from the frames is the batch body.
"""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from pydantic import TypeAdapter

from dual_mode_streaming._codec import ItemCodec, SerializationOptions
from dual_mode_streaming.sse import (
    HEARTBEAT,
    RESERVED_EVENTS,
    ServerSentEvent,
    dumps,
    escape_line_separators,
)

__all__ = [
    "EventFrames",
    "Fold",
    "Frames",
    "ItemCodec",
    "LineFrames",
    "Representation",
    "SerializationOptions",
]

Fold = Callable[[AsyncIterator[Any]], Awaitable[Any]]
"""Makes the batch body from the items. It may return before they end."""


class Frames(Protocol):
    """The wire format of one streamed answer: how its items, its end and its failure look.

    Attributes:
        heartbeat: what is sent when the source is silent; empty if the format has nothing for it.
        count: the number of items that were framed.
    """

    @property
    def heartbeat(self) -> bytes: ...
    @property
    def count(self) -> int: ...

    def opening(self, *, retry: int | None = None, reset: Any = None) -> bytes:
        """Return what stands before the first item.

        Args:
            retry: the reconnection time, in milliseconds (WHATWG, 9.2.6).
            reset: the data of a `reset` event, if the client's cursor cannot be served.
        """
        ...

    def item(self, item: Any) -> bytes:
        """Return the frame of one item; an error that it raises fails the stream."""
        ...

    def done(self) -> bytes:
        """Return the end of a whole answer."""
        ...

    def failed(self, problem: Mapping[str, Any], *, final: bool = True) -> bytes | None:
        """Return the end of a failed answer; None if only a broken transfer can say it.

        Args:
            problem: an RFC 9457 problem.
            final: False if the client is to reconnect, so that the end must not stop it.
        """
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Representation:
    """How the items of an answer become JSON, events and the batch body.

    Attributes:
        codec: validates and serialises the items.
        fold: makes the batch body; `{"data": [...]}` of all items by default.
        fold_result: validates and serialises what the fold returns; the value's own type decides
            if None.
        frames: makes the frames of one event stream, in a wire format other than ours.
    """

    codec: ItemCodec
    fold: Fold | None = None
    fold_result: TypeAdapter[Any] | None = None
    frames: Callable[[], Frames] | None = None


class EventFrames:
    """The frames of one answer as Server-Sent Events: items with ids, then `done` or `error`.

    Ids are `<run>.<n>`, n counting the items from 1; an event's own id replaces ours. `count` says
    how many items there were; an event without data (a comment, a retry) is not an item.
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

    heartbeat: Final = HEARTBEAT

    def __init__(self, codec: ItemCodec, run: str, *, error_event: str = "error") -> None:
        self._codec = codec
        self._run = run
        self._error_event = error_event
        own = {error_event} - RESERVED_EVENTS
        self._reserved = RESERVED_EVENTS | own if own else RESERVED_EVENTS
        self._template = b"id: " + run.encode() + b".%d\ndata: %b\n\n"
        self._exact = codec.exact
        self._json = codec.to_json
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
