"""One look at the end of a stream, shared by all who read it in this process.

However many readers there are, the store is asked once for what is new. A reader that is further
back than the tail remembers asks the store by itself until it has caught up. Places are ids, so
nothing is lost or doubled between the two.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from itertools import islice
from typing import Final

from dual_mode_streaming.errors import ServingError
from dual_mode_streaming.recordings._entries import Cursor, Lost, Recorded
from dual_mode_streaming.stores._base import Entry, Store, StoreError, StreamInfo

__all__ = ["Gone", "Tail"]

logger = logging.getLogger("dual_mode_streaming")

_KEPT_BYTES: Final = 256 * 1024
"""What a tail remembers, and what one reader that is further back is given at once."""

_OVERHEAD: Final = 500
"""What a record takes in memory beside its data, about."""

_AT_ONCE: Final = 64
"""So many records a reader is given before it looks again."""

_WATCH: Final = 5.0
"""So often, in seconds, the state of a silent stream is looked at, or twice in a lease if that is
less: a bell may be lost."""

_PATIENCE: Final = 15.0
"""A store that is out of reach for so many seconds is told to the readers, who may come again."""


class Gone(ServingError):
    """The stream was deleted, or has expired."""


class Tail:
    """What comes at the end of one stream, for any number of readers.

    `revive` is called when nobody writes the stream any more: it finds somebody, or ends it.
    """

    def __init__(
        self, store: Store, info: StreamInfo, revive: Callable[[str], Awaitable[None]]
    ) -> None:
        self.stream = info.new.stream
        self.readers = 0
        self._store = store
        self._revive = revive
        self._last = Cursor.at(info, info.head)
        self._kept: deque[Recorded] = deque()  # the last of them, up to `_last`
        self._size = 0
        self._doubts = 0  # how often places that were good may have become bad
        self._ended = info.state != "running"
        self._error: Exception | None = None
        self._bell = asyncio.Event()
        self._news: asyncio.Future[None] | None = None
        self._in_reach = asyncio.get_running_loop().time()
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def has_failed(self) -> bool:
        """It says nothing more, though the stream may go on."""
        return self._error is not None

    async def close(self) -> None:
        """Follow the stream no more; who still reads it gets a StoreError."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def read(self, after: Cursor) -> AsyncGenerator[Recorded | Lost, None]:
        """The records after a place, to the stream's end, as they come.

        A place that the stream has not, or no longer, gives a Lost, and then the earliest there is.
        Raises Gone, and StoreError if the store stays out of reach.
        """
        place, doubts = after, -1
        while True:
            if doubts != self._doubts:
                doubts = self._doubts
                info = await self._info()
                if not info.has(place.generation, place.sequence) or (
                    place.sequence + 1 < info.earliest
                ):
                    yield Lost.of(info, place)
                    place = Cursor.at(info, info.earliest - 1)
            if place.sequence >= self._last.sequence:
                if self._error is not None:
                    raise self._error.with_traceback(None)  # it is raised to all of them
                if self._ended:
                    return
                await self._wait()
                continue
            records = self._remembered(place)
            if not records:
                entries = await self._store.read(self.stream, place.sequence, size=_KEPT_BYTES)
                if not entries or entries[0].sequence != place.sequence + 1:
                    doubts = -1  # it was trimmed meanwhile
                    await asyncio.sleep(0.01)
                    continue
                if entries[0].generation != place.generation:
                    info = await self._info()
                    if not info.has(place.generation, place.sequence):
                        doubts = -1  # the place was lost, and another has written there
                        continue
                records = [Recorded.of(self.stream, entry) for entry in entries]
            for recorded in records:
                yield recorded
            place = records[-1].cursor
            if records[-1].record.kind == "end":
                return

    def _remembered(self, place: Cursor) -> list[Recorded]:
        """What follows a place, if the tail has it."""
        skipped = place.sequence + 1 - (self._last.sequence + 1 - len(self._kept))
        return [] if skipped < 0 else list(islice(self._kept, skipped, skipped + _AT_ONCE))

    async def _wait(self) -> None:
        """Until there is something new."""
        if self._news is None:
            self._news = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._news)

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set_result(None)
            self._news = None

    async def _run(self) -> None:
        try:
            while not self._ended and self._error is None:
                await self._follow()
        except Exception as error:
            self._error = error
        except asyncio.CancelledError:
            self._error = StoreError("the stream is not followed here any more")
            raise
        finally:
            self._tell()

    async def _follow(self) -> None:
        """Follow the stream while the store is in reach. Raises StoreError if it is not again."""
        try:
            async with self._store.subscribe(self.stream, self._bell.set):
                await self._check()
                while not self._ended:
                    await self._step()
                    self._in_reach = asyncio.get_running_loop().time()
        except StoreError as error:
            logger.warning("the tail of %s: %s", self.stream, error)
            if asyncio.get_running_loop().time() - self._in_reach > _PATIENCE:
                raise
            await asyncio.sleep(0.2)

    async def _step(self) -> None:
        """Take what is new; if nothing is, wait for the bell, and look why it rang."""
        rang = self._bell.is_set()
        self._bell.clear()
        entries = await self._store.read(self.stream, self._last.sequence)
        if entries:
            if entries[0].generation != self._last.generation:
                await self._check()
            self._add(entries)
        elif rang:
            await self._check()
        else:
            try:
                async with asyncio.timeout(min(_WATCH, self._store.limits.lease / 2)):
                    await self._bell.wait()
            except TimeoutError:
                await self._check()

    async def _check(self) -> None:
        """Look whether the stream is still there, is still written, and still has its last entry.

        Raises Gone.
        """
        info = await self._info()
        if info.is_abandoned:
            await self._revive(self.stream)
            info = await self._info()
        last = self._last
        if not info.has(last.generation, last.sequence):
            self._last = Lost.of(info, last).head
            self._kept.clear()
            self._size = 0
            self._doubts += 1
            self._tell()
        if info.state != "running" and self._last.sequence >= info.head:
            self._ended = True

    def _add(self, entries: Sequence[Entry]) -> None:
        if entries[0].sequence <= self._last.sequence:
            return
        new = [Recorded.of(self.stream, entry) for entry in entries]
        if entries[0].sequence != self._last.sequence + 1:  # trimmed while we were behind
            self._kept.clear()
            self._size = 0
            self._doubts += 1
        self._kept.extend(new)
        self._size += sum(map(_size_of, new))
        while self._size > _KEPT_BYTES and len(self._kept) > 1:
            self._size -= _size_of(self._kept.popleft())
        self._last = self._kept[-1].cursor
        self._ended = self._kept[-1].record.kind == "end"
        self._tell()

    async def _info(self) -> StreamInfo:
        info = await self._store.info(self.stream)
        if info is None or info.expired:
            raise Gone("the stream was deleted" if info is None else "the stream has expired")
        return info


def _size_of(recorded: Recorded) -> int:
    return len(recorded.record.data) + len(recorded.record.name) + _OVERHEAD
