"""The rendering of items: an item becomes JSON, and JSON becomes a frame of a wire format.

`ItemCodec` makes the JSON of the declared item type. `Frames` is the protocol of a wire format;
`EventFrames` and `LineFrames` implement it. A batch is the same JSON in one list, so folding what a
client decodes from the frames always gives the batch body.
"""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, Literal, Protocol

from pydantic import TypeAdapter

from dual_mode_streaming._codec import ItemCodec, SerializationOptions
from dual_mode_streaming.errors import Problem
from dual_mode_streaming.sse import (
    END_STATES,
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
    "WireFormat",
]

Fold = Callable[[AsyncIterator[Any]], Awaitable[Any]]
"""An async function from the items to the batch body. It may return before the items end."""


class Frames(Protocol):
    """The wire format of one streamed answer: the frames of its items, its end and its failure.

    Attributes:
        heartbeat: what is sent while the source is silent; empty if the format has no such frame.
        count: the number of items framed so far.
    """

    @property
    def heartbeat(self) -> bytes: ...
    @property
    def count(self) -> int: ...

    def opening(self, *, retry: int | None = None, reset: Any = None) -> bytes:
        """Return the frames before the first item.

        Args:
            retry: the reconnection time, in milliseconds (WHATWG, 9.2.6).
            reset: the data of a `reset` event, if the client's cursor cannot be served.
        """
        ...

    def item(self, item: Any) -> bytes:
        """Return the frame of one item. An error that it raises fails the stream."""
        ...

    def done(self) -> bytes:
        """Return the frame that ends a complete answer."""
        ...

    def failed(self, problem: Mapping[str, Any], *, final: bool = True) -> bytes | None:
        """Return the frame that ends a failed answer; None if only a broken transfer can show it.

        Args:
            problem: an RFC 9457 problem.
            final: False if the client shall reconnect, so the frame must not stop it.
        """
        ...


class WireFormat(Protocol):
    """A foreign format of an endpoint: requests in, frames out, refusals its own way.

    `dual_mode(wire=...)` answers in it. Only `begin` sees the request; what it returns is stored
    with a recorded answer, so that any worker renders the same answer again from its items.

    A format may have a method `whole(begun, identity, items)`, a coroutine that returns the body of
    an answer that is not streamed: it is asked for if `begun["stream"]` is False.

    Attributes:
        headers: the headers of a streamed answer.
        key: the name of the parameter with which a client names a recorded answer, to read it again
            or to stop it; empty if it cannot.
        resume: what a key names. `"newest"`: a conversation, of which only the running answer is
            read again, from its start; a new request ends it. `"each"`: one answer, also when it
            has ended; its frames have ids, and a client goes on after one.
    """

    headers: Mapping[str, str]
    key: str
    resume: Literal["newest", "each"]

    def begin(self, body: Any) -> Mapping[str, Any]:
        """Return what `frames` needs of a request's JSON body, as JSON; raises Problem.

        Its member `key` is the value of the key, if the request has one.
        """
        ...

    def frames(self, begun: Mapping[str, Any], identity: str) -> Frames:
        """Return the frames of one answer.

        Two calls with the same arguments must give the same frames for the same items. Those of a
        recorded answer are made of the JSON of its items. A method
        `stopped()` of theirs returns the end of an answer that its user stopped; without it such
        an answer has failed.

        Args:
            begun: what `begin` returned.
            identity: differs from answer to answer: 32 hexadecimal digits.
        """
        ...

    def error(self, problem: Problem) -> Any:
        """Return the body of a refusal: JSON, or text if it is a string."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Representation:
    """How the items of an answer become JSON, events and the batch body.

    Attributes:
        codec: the codec of the items.
        fold: the function that makes the batch body; `{"data": [item, ...]}` by default.
        fold_result: the type of the fold's result, for its validation and JSON; None for any type.
        frames: a function that returns the `Frames` of one event stream; `EventFrames` by default.
    """

    codec: ItemCodec
    fold: Fold | None = None
    fold_result: TypeAdapter[Any] | None = None
    frames: Callable[[], Frames] | None = None


class EventFrames:
    """The frames of one answer as Server-Sent Events: items with ids, then `done` or `error`.

    The id of an item is `<run>.<n>`, where n counts the items from 1, unless the item is an event
    with an id of its own. An event without data (a comment, a retry) is not counted as an item.

    Args:
        codec: serialises the items.
        run: the part of the ids that differs from answer to answer.
        error_event: the name of the event of a failure.
        feed: share the JSON of frozen items with all answers that use this codec.
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
        """Return the reconnection time and the `reset` event, if given."""
        frames = b"" if retry is None else ServerSentEvent(retry=retry).encode()
        if reset is not None:
            frames += ServerSentEvent(event="reset", data=dumps(reset).decode()).encode()
        return frames

    def item(self, item: Any) -> bytes:
        """Return the frame of one item.

        Raises:
            ValueError: the event name is reserved, or the item is not of the declared type.
            PydanticSerializationError: the item cannot be serialised.
        """
        if type(item) is self._exact:  # the fast path: a valid model, no event name, no own id
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
                f"({', '.join(sorted(self._reserved))}); use another name"
            )

    def done(self) -> bytes:
        """Return the `done` event. A reconnecting EventSource sends its id and gets a 204."""
        return b'event: done\nid: %b.end\ndata: {"items":%d}\n\n' % (self._run.encode(), self.count)

    def failed(self, problem: Mapping[str, Any], *, final: bool = True) -> bytes:
        """Return the event of a failure, with the problem as data.

        It has the id of the end only if it is `final`; without it an EventSource reconnects.
        """
        end_id = f"{self._run}.end" if final else None
        name = problem.get("outcome")  # cancelled or interrupted: see ChannelLog
        event = name if name in END_STATES else self._error_event
        data = dumps(problem).decode()
        return ServerSentEvent(event=event, id=end_id, data=data).encode()


class LineFrames:
    """The frames of one answer as JSON Lines: one line per item, and nothing else.

    The clean end of the transfer shows success; a failure breaks the transfer. There is no
    heartbeat, since a strict client parses every line.
    """

    __slots__ = ("_codec", "count")

    heartbeat: Final = b""

    def __init__(self, codec: ItemCodec) -> None:
        self._codec = codec
        self.count = 0

    def opening(self, *, retry: int | None = None, reset: Any = None) -> bytes:
        """Return nothing: there are no lines besides the items."""
        return b""

    def item(self, item: Any) -> bytes:
        """Return the line of one item; empty for an event without data."""
        data = self._codec.data(item)
        if data is None:
            return b""
        self.count += 1
        return data + b"\n"

    def done(self) -> bytes:
        """Return nothing: the clean end of the transfer shows success."""
        return b""

    def failed(self, problem: Mapping[str, Any], *, final: bool = True) -> None:
        """Return None: only a broken transfer can show a failure."""
        return
