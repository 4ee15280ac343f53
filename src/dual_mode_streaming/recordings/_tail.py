"""The tail of one stream: follows the store once for all readers in this process.

A tail keeps the last records in memory. A reader that is further behind reads from the store by
itself until it has caught up. Positions are cursors, so that no record is missed or repeated when a
reader changes from the one to the other.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Final

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.recordings._entries import Cursor, Gap, StoredRecord
from dual_mode_streaming.running._tasks import end_tasks
from dual_mode_streaming.stores._base import Entry, Store, StoreError, StreamInfo

logger = logging.getLogger("dual_mode_streaming")

_KEPT_BYTES: Final = 256 * 1024
"""The size of the records that a tail keeps, and of one read by a reader that is further behind."""

_OVERHEAD: Final = 500
"""The approximate memory that a record takes besides its data, in bytes."""

_BATCH_RECORDS: Final = 64
"""The most records that a reader takes from the tail at once."""

_LITTLE: Final = 256
"""The most records that a reader may be behind to share what it reads with others."""

_CHECK_INTERVAL: Final = 5.0
"""The time in seconds after which the state of a silent stream is checked, because a notification
may be lost. Half of the lease if that is shorter."""

_STORE_TIMEOUT: Final = 15.0
"""The time in seconds for which the store may fail before the readers get its error."""


class StreamGone(Problem):
    """The stream was deleted or has expired (410)."""

    def __init__(self, detail: str) -> None:
        super().__init__(410, detail)


class Tail:
    """Follows the end of one stream for any number of readers.

    It runs a task from its creation on; `close` ends it.

    Args:
        store: the store of the stream.
        info: the state of the stream.
        recover: called with the id of the stream if its producer is gone. It takes the stream over
            or ends it.

    Attributes:
        stream: the id of the stream.
        readers: the number of readers; its user counts them.
    """

    def __init__(
        self, store: Store, info: StreamInfo, recover: Callable[[str], Awaitable[None]]
    ) -> None:
        self.stream = info.new.stream
        self.readers = 0
        self._store = store
        self._recover = recover
        self._last = Cursor.at(info, info.head)
        self._kept: deque[StoredRecord] = deque()  # the last records, up to `_last`
        self._size = 0
        self._shares = True  # whether what one reader reads can be kept for the others
        self._rewrites = 0  # how often cursors that were valid may have become invalid
        self._ended = info.state != "running"
        self._error: Exception | None = None
        self._changed = asyncio.Event()  # set by the store
        self._waiting: set[asyncio.Future[None]] = set()  # of the readers
        self._reading = asyncio.Lock()  # among readers that are behind
        self._failing_since: float | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def has_failed(self) -> bool:
        """Whether it has stopped because of an error, although the stream may continue."""
        return self._error is not None

    async def close(self) -> None:
        """Stop following the stream. Its readers get a StoreError."""
        await end_tasks(self._task)

    async def _wait(self) -> None:
        """Wait until there is something new for the readers."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)

    def _notify_readers(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for each in waiting:
            if not each.done():  # else its reader was cancelled
                each.set_result(None)

    async def _run(self) -> None:
        try:
            while not self._ended and self._error is None:
                await self._follow()
        except Exception as error:
            self._error = error
        except asyncio.CancelledError:
            self._error = StoreError("this process has stopped following the stream")
            raise
        finally:
            self._notify_readers()

    async def _follow(self) -> None:
        """Follow the stream until it ends or the store fails.

        Raises:
            StoreError: the store has failed for `_STORE_TIMEOUT`.
        """
        try:
            async with self._store.subscribe(self.stream, self._changed.set):
                await self._check()
                while not self._ended:
                    await self._step()
                    self._failing_since = None
        except StoreError as error:
            if self._failing_since is None:  # the others are of the same outage
                logger.warning("the stream %s cannot be followed now: %s", self.stream, error)
            now = asyncio.get_running_loop().time()
            self._failing_since = self._failing_since or now
            if now - self._failing_since > _STORE_TIMEOUT:
                raise
            await asyncio.sleep(min(max(0.2, (now - self._failing_since) / 4), 2.0))

    async def _step(self) -> None:
        """Add new entries. If there are none, wait for a notification and check the stream."""
        was_notified = self._changed.is_set()
        self._changed.clear()
        entries = await self._store.read(self.stream, self._last.sequence)
        if entries:
            if entries[0].generation != self._last.generation:
                await self._check()
            self._add(entries)
        elif was_notified:
            await self._check()
        else:
            try:
                async with asyncio.timeout(min(_CHECK_INTERVAL, self._store.limits.lease / 2)):
                    await self._changed.wait()
            except TimeoutError:
                await self._check()

    async def _check(self) -> None:
        """Check that the stream exists, has a producer, and still has its last record.

        Raises:
            StreamGone: the stream does not exist any more.
        """
        info = await self._info()
        if info.is_abandoned:
            await self._recover(self.stream)
            info = await self._info()
        last = self._last
        if not info.has(last.generation, last.sequence):
            self._last = Cursor.at(info, info.head)
            self._forget()
            self._notify_readers()
        if info.state != "running" and self._last.sequence >= info.head:
            self._ended = True

    def _add(self, entries: Sequence[Entry]) -> None:
        if entries[0].sequence <= self._last.sequence:
            return
        new = [StoredRecord.of(self.stream, entry) for entry in entries]
        if entries[0].sequence != self._last.sequence + 1:  # trimmed before this tail has read it
            self._forget()
        self._kept.extend(new)
        self._size += sum(map(_size_of, new))
        while self._size > _KEPT_BYTES and len(self._kept) > 1:
            self._size -= _size_of(self._kept.popleft())
        self._last = self._kept[-1].cursor
        self._ended = self._kept[-1].record.kind == "end"
        self._notify_readers()

    def _keep_older(self, records: Sequence[StoredRecord]) -> bool:
        """Keep what comes right before the kept records. Return False if it does not fit."""
        first = self._last.sequence + 1 - len(self._kept)
        older = [each for each in records if each.cursor.sequence < first]
        if not older or older[-1].cursor.sequence + 1 != first:
            return False
        after = self._kept[0].cursor if self._kept else self._last
        size = self._size + sum(map(_size_of, older))
        if older[-1].cursor.generation > after.generation or size > _KEPT_BYTES:
            return False
        self._kept.extendleft(reversed(older))
        self._size = size
        return True

    def _forget(self) -> None:
        """Drop the kept records, and make each reader check its position."""
        self._kept.clear()
        self._size = 0
        self._rewrites += 1
        self._shares = True

    async def _info(self) -> StreamInfo:
        info = await self._store.info(self.stream)
        if info is None or info.expired:
            state = "was deleted" if info is None else "has expired"
            raise StreamGone(f"the stream {state}")
        return info


class TailReader:
    """Reads a stream from a cursor to its end, from its tail or from the store."""

    def __init__(self, tail: Tail, after: Cursor) -> None:
        self._tail = tail
        self._position = after
        self._checked = -1  # the tail's `_rewrites` when the position was checked
        self._has_ended = False

    async def next(self) -> Sequence[StoredRecord | Gap]:
        """Return the next records, as soon as there are some; nothing at the end of the stream.

        If the stream does not have the position, or has it no more, the result is a Gap; the
        earliest record that is kept comes next.

        Raises:
            StreamGone: the stream was deleted or has expired.
            StoreError: the store failed for too long, or the tail was closed.
        """
        tail = self._tail
        while not self._has_ended:
            if self._checked != tail._rewrites:
                self._checked = tail._rewrites
                if (gap := await self._gap()) is not None:
                    return (gap,)
            if self._position.sequence >= tail._last.sequence:
                if tail._error is not None:
                    raise tail._error.with_traceback(None)  # all readers get the same error
                if tail._ended:
                    break
                await tail._wait()
            elif records := self._from_tail() or await self._from_store():
                self._position = records[-1].cursor
                self._has_ended = records[-1].record.kind == "end"
                return records
        return ()

    async def _gap(self) -> Gap | None:
        """Return the gap after the position, and move to its end; None if there is no gap."""
        position, info = self._position, await self._tail._info()
        is_there = info.has(position.generation, position.sequence)
        if is_there and position.sequence + 1 >= info.earliest:
            return None
        self._position = Cursor.at(info, info.earliest - 1)
        return Gap.of(info, position)

    def _from_tail(self) -> list[StoredRecord]:
        """Return the records that follow the position, if the tail has them."""
        tail = self._tail
        skipped = self._position.sequence + 1 - (tail._last.sequence + 1 - len(tail._kept))
        return [] if skipped < 0 else list(islice(tail._kept, skipped, skipped + _BATCH_RECORDS))

    async def _from_store(self) -> list[StoredRecord]:
        """Return the records that follow the position; nothing if it must be checked again.

        Of the readers that are a little behind, as all are whose worker was replaced, one reads for
        all: its records are kept, and rendered once.
        """
        tail = self._tail
        is_little = tail._last.sequence - self._position.sequence <= _LITTLE
        if tail.readers == 1 or not tail._shares or not is_little:
            return await self._read()
        async with tail._reading:
            rewrites = tail._rewrites
            if self._checked != rewrites:
                return []
            if not (records := self._from_tail()) and tail._shares:
                records = await self._read()
                if records and tail._rewrites == rewrites:
                    tail._shares = tail._keep_older(records)
        return records or await self._read()

    async def _read(self) -> list[StoredRecord]:
        tail, position = self._tail, self._position
        entries = await tail._store.read(tail.stream, position.sequence, size=_KEPT_BYTES)
        if not entries or entries[0].sequence != position.sequence + 1:
            self._checked = -1  # the entries were trimmed meanwhile
            await asyncio.sleep(0.01)
            return []
        if entries[0].generation != position.generation:
            info = await tail._info()
            if not info.has(position.generation, position.sequence):
                self._checked = -1  # the position was lost, and another writer has written there
                return []
        return [StoredRecord.of(tail.stream, entry) for entry in entries]


def _size_of(stored: StoredRecord) -> int:
    return len(stored.record.data) + len(stored.record.name) + _OVERHEAD
