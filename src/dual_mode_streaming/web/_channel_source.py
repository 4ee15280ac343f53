"""The source of an answer that a function returned as the subscription of a channel."""

import functools
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from dual_mode_streaming.channels import Subscription
from dual_mode_streaming.channels._log import ChannelLog
from dual_mode_streaming.errors import BrokenTransfer
from dual_mode_streaming.negotiation import ResponseMode
from dual_mode_streaming.recordings import Cursor, Gap, StoredRecord
from dual_mode_streaming.rendering import ItemCodec
from dual_mode_streaming.sse import ServerSentEvent, dumps

Records = AsyncGenerator[StoredRecord | Gap, None]


class StoredEvent(ServerSentEvent):
    """An event that is rendered already. Its data is not None if it counts as an item."""

    __slots__ = ("frame",)

    def __init__(self, frame: bytes, data: str | None = "") -> None:
        super().__init__(data=data, id="")
        object.__setattr__(self, "frame", frame)

    def encode(self) -> bytes:
        """Return the frame."""
        return self.frame  # type: ignore[attr-defined, no-any-return]

    @classmethod
    def reset(cls, data: Any) -> "StoredEvent":
        """Return the event that says which messages are missing."""
        return cls(_event("reset", "", dumps(data)), None)


def rendered(record: StoredRecord) -> Any:
    """Return the event of a JSON message, rendered once for all readers in this process."""
    if record.frame is None:
        name, data = record.record.name, record.record.data
        record.frame = StoredEvent(_event(name, str(record.cursor), data))
    return record.frame


def items_of(
    subscription: Subscription[Any], mode: ResponseMode, shown: str, codec: ItemCodec
) -> AsyncGenerator[Any, None]:
    """Return the items of a streamed answer: events, or lines.

    Args:
        subscription: what the function returned.
        mode: the mode of the answer.
        shown: the client's cursor; empty if there is none.
        codec: the codec of the endpoint, which may be another than that of the channel.
    """
    own = subscription.codec
    if mode is not ResponseMode.STREAM:
        return lines_of(subscription.records(), own)
    is_same = codec.item_type == own.item_type and codec.options == own.options
    frame = rendered if is_same else functools.partial(_converted, own=own, codec=codec)
    return events_of(subscription.log, subscription.records, shown, Cursor.parse(shown), frame)


async def events_of(
    log: ChannelLog,
    follow: Callable[[Cursor | None], Records],
    shown: str,
    after: Cursor | None,
    frame: Callable[[StoredRecord], Any],
) -> AsyncGenerator[Any, None]:
    """Yield the events after the client's cursor, with the cursors as ids.

    Args:
        log: the channel.
        follow: follows it, from a cursor on.
        shown: what the client has shown; empty if nothing.
        after: the same as a cursor; None if it is none.
        frame: makes an event of a message.
    """
    if shown and (after is None or after.stream != log.stream):
        yield StoredEvent.reset(await log.reset_of(shown))
        after = None
    async with aclosing(follow(after)) as records:
        async for record in records:
            if isinstance(record, Gap):
                yield StoredEvent.reset(record.as_json())
            else:
                yield frame(record)


async def lines_of(records: Records, codec: ItemCodec) -> AsyncGenerator[Any, None]:
    """Yield the items of records, for lines or a batch.

    Raises:
        BrokenTransfer: some are missing, which lines cannot say.
    """
    async with aclosing(records):
        async for record in records:
            if isinstance(record, Gap):
                raise BrokenTransfer("messages of the channel are no longer kept")
            yield codec.parsed(record.record.data)


def _converted(record: StoredRecord, own: ItemCodec, codec: ItemCodec) -> StoredEvent:
    """Return an event with what the endpoint declares of the item."""
    data, name = codec.named(own.parsed(record.record.data))
    return StoredEvent(_event(name or "", str(record.cursor), data))


def _event(name: str, cursor: str, data: bytes) -> bytes:
    line = b"event: %b\n" % name.encode() if name else b""
    identity = b"id: %b\n" % cursor.encode() if cursor else b""
    return b"%b%bdata: %b\n\n" % (line, identity, data)
