"""The source of an answer that a function returned as the subscription of a channel."""

from collections.abc import AsyncGenerator
from typing import Any

from dual_mode_streaming.channels import Subscription
from dual_mode_streaming.errors import BrokenTransfer
from dual_mode_streaming.negotiation import ResponseMode
from dual_mode_streaming.recordings import Cursor, Gap, StoredRecord
from dual_mode_streaming.rendering import ItemCodec
from dual_mode_streaming.sse import ServerSentEvent, dumps


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


async def items_of(
    subscription: Subscription[Any], mode: ResponseMode, shown: str, codec: ItemCodec
) -> AsyncGenerator[Any, None]:
    """Yield the items of a streamed answer.

    Events continue after the cursor that the client has shown, and have the cursors as ids. Lines
    are all that there is, and then what is published.

    Args:
        subscription: what the function returned.
        mode: the mode of the answer.
        shown: the client's cursor; empty if there is none.
        codec: the codec of the endpoint, which may be another than that of the channel.

    Raises:
        BrokenTransfer: lines cannot say that some are missing.
    """
    after = None
    if mode is ResponseMode.STREAM and shown:
        after = Cursor.parse(shown)
        if after is None or not subscription.has(after):
            yield StoredEvent.reset({"reason": "not_recorded", "requested": shown[:80]})
            after = None
    own = subscription.codec
    is_same = codec.item_type == own.item_type and codec.options == own.options
    records = subscription.records(after)
    try:
        async for record in records:
            if mode is not ResponseMode.STREAM:
                if isinstance(record, Gap):
                    raise BrokenTransfer("messages of the channel are no longer kept")
                yield own.parsed(record.record.data)
            elif isinstance(record, Gap):
                yield StoredEvent.reset(record.as_json())
            elif is_same:
                yield rendered(record)
            else:
                yield _converted(record, own, codec)
    finally:
        await records.aclose()


def _converted(record: StoredRecord, own: ItemCodec, codec: ItemCodec) -> StoredEvent:
    """Return an event with what the endpoint declares of the item."""
    data, name = codec.named(own.parsed(record.record.data))
    return StoredEvent(_event(name or "", str(record.cursor), data))


def _event(name: str, cursor: str, data: bytes) -> bytes:
    line = b"event: %b\n" % name.encode() if name else b""
    identity = b"id: %b\n" % cursor.encode() if cursor else b""
    return b"%b%bdata: %b\n\n" % (line, identity, data)
