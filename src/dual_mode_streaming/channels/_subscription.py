"""A subscription: the messages of a channel after a cursor, and then as they are published."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Generic, Literal, TypeVar

from dual_mode_streaming._codec import ItemCodec
from dual_mode_streaming.channels._log import ChannelLog
from dual_mode_streaming.recordings import Cursor, Gap, StoredRecord

T = TypeVar("T")

From = Literal["start", "now"]


class Subscription(AsyncIterator[T], Generic[T]):
    """The messages of a channel, one after the other, until it is closed.

    Return it from a function under `dual_mode`, and the answer continues after the client's
    Last-Event-ID, has the cursors as the ids of its events, and is what there is as a batch. In
    other code, iterate over it; `aclose` ends it.

    Attributes:
        cursor: the cursor of the last message; "" before the first.
        gap: what `reset` tells a client, if messages after the cursor were no longer there: the
            reason, and the cursors requested, earliest and head. None if nothing was missed.
    """

    __slots__ = ("__weakref__", "_after", "_codec", "_items", "_log", "_start", "cursor", "gap")

    def __init__(
        self,
        log: Callable[[], ChannelLog],
        codec: ItemCodec,
        after: Cursor | None,
        start: From,
    ) -> None:
        self.cursor = "" if after is None else str(after)
        self.gap: dict[str, str] | None = None
        self._log = log
        self._codec = codec
        self._after = after
        self._start = start
        self._items: AsyncGenerator[T, None] | None = None

    @property
    def codec(self) -> ItemCodec:
        """The codec of the channel's items."""
        return self._codec

    @property
    def log(self) -> ChannelLog:
        """The channel, in the store of the running event loop."""
        return self._log()

    def records(self, after: Cursor | None = None) -> AsyncGenerator[StoredRecord | Gap, None]:
        """Return the records after a cursor, or after that of the subscription."""
        return self._log().follow(after or self._after, from_now=self._start == "now")

    async def kept(self) -> AsyncGenerator[T, None]:
        """Yield the messages that there are, and end."""
        async for record in self._log().kept(self._after):
            if not isinstance(record, Gap):
                yield self._codec.parsed(record.record.data)

    async def __anext__(self) -> T:
        if self._items is None:
            self._items = self._read()
        return await anext(self._items)

    async def aclose(self) -> None:
        """End the subscription."""
        if self._items is not None:
            await self._items.aclose()

    async def _read(self) -> AsyncGenerator[T, None]:
        records = self.records()
        try:
            async for record in records:
                if isinstance(record, Gap):
                    self.gap = record.as_json()
                else:
                    self.cursor = str(record.cursor)
                    yield self._codec.parsed(record.record.data)
        finally:
            await records.aclose()
