"""The transactions of a SQLite store: what each request reads and changes in the tables.

A transaction serves a group of requests. A stream is read once, however many of them concern it,
and all changes are written together at the end.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from time import monotonic, time
from typing import Any, Final

from dual_mode_streaming.errors import StoreFull
from dual_mode_streaming.sse import EndState
from dual_mode_streaming.stores._base import AppendResult, Limits, NewStream
from dual_mode_streaming.stores._publishing import FOREVER, next_step
from dual_mode_streaming.stores._sqlite_file import boot
from dual_mode_streaming.stores._sqlite_rows import (
    EntryRow,
    StreamRow,
    insert_entries,
    remove_oldest,
    select,
    update,
)

_PORTION: Final = 500  # entries that are removed in one transaction
_STREAMS: Final = 100  # streams that are emptied or deleted in one transaction

_LARGEST: Final = 2**62

_CREATE: Final = """
insert into streams (stream, idempotency_key, generation, generations, lease, lifetime, boot)
values (?, ?, ?, ?, ?, ?, ?)
"""

_REMOVE: Final = """
delete from entries where (stream, seq) in
  (select stream, seq from garbage cross join entries using (stream) limit ?)
"""


class Tables:
    """The tables, for the one thread and connection that write.

    Call `begin`, the methods of the requests, `finish` and `commit`, in this order; `rollback` when
    one of them fails.
    """

    def __init__(self, connection: sqlite3.Connection, limits: Limits) -> None:
        self.has_garbage = False
        """Whether another transaction should follow soon, to clean up more."""
        self._connection = connection
        self._run = connection.execute
        self._limits = limits
        self._now = 0.0  # the wall clock, for what is kept for long
        self._clock = 0.0  # the clock of leases, which nobody can set
        self._streams = self._bytes = self._tick = self._deleted = 0  # as in `totals`
        self._totals = (0, 0, 0, 0)  # as they were at the beginning
        self._rows: dict[str, StreamRow | None] = {}
        self._dirty: dict[int, StreamRow] = {}
        self._entries: list[EntryRow] = []
        self._bounds: dict[int, tuple[int, int]] = {}  # own limits of streams: entries, bytes
        self._written = 0
        self._changed: set[str] = set()  # streams that this transaction has changed
        self._seen: int | None = None  # the tick up to which changes are known
        self._own: set[str] = set()  # known changes that `changes` has not returned yet

    def begin(self) -> None:
        """Begin a transaction."""
        self._run("begin immediate")
        self._now, self._clock = time(), monotonic()
        self._clear()
        self._totals = self._run("select streams, bytes, tick, deleted from totals").fetchone()
        self._streams, self._bytes, self._tick, self._deleted = self._totals
        self._tick += 1

    def finish(self, *, clean: bool) -> None:
        """Write what the requests have changed.

        Args:
            clean: also empty and delete what is too old, and remove a portion of the garbage.
        """
        self._flush()
        if clean or self.has_garbage:
            self._clean()
            self._flush()
        totals = (self._streams, self._bytes, self._tick, self._deleted)
        if totals[:2] != self._totals[:2] or self._changed:
            self._run("update totals set streams = ?, bytes = ?, tick = ?, deleted = ?", totals)

    def commit(self) -> None:
        """Commit the transaction."""
        self._run("commit")
        if self._changed and self._seen == self._tick - 1:  # no other process is in between
            self._seen = self._tick
            self._own |= self._changed

    def rollback(self) -> None:
        """Undo the transaction, if there is one; a failing store is not asked to clean up soon."""
        self._clear()
        self.has_garbage = False
        if self._connection.in_transaction:
            self._run("rollback")

    def changes(self) -> set[str] | None:
        """Return the streams that any process has changed since the last call.

        None stands for all: at the first call, or if another process has deleted a stream.
        """
        if self._own:
            own, self._own = self._own, set()
            return own
        tick, deleted = self._run("select tick, deleted from totals").fetchone()
        seen, self._seen = self._seen, tick
        if seen is None or deleted > seen or tick < seen:  # the last: of a backup
            return None
        changed = "select stream from streams where changed > ?"
        return {stream for (stream,) in self._run(changed, (seen,))} if tick > seen else set()

    def ignore_changes(self) -> None:
        """Let the next `changes` return None, instead of all changes since the last call."""
        self._seen = None
        self._own.clear()

    # The requests

    def create(
        self, new: NewStream, idempotency_key: str | None, replaces: str | None = None
    ) -> str:
        """See `Store.create`."""
        if self._row(new.stream) is not None:
            return new.stream  # the same call, repeated
        if idempotency_key is not None:
            for held in self._select("idempotency_key = ?", (idempotency_key,)):
                if held.stream != replaces and not self._is_aged(held, 1):
                    return held.stream
            self._run(
                "update streams set idempotency_key = null where idempotency_key = ?",
                (idempotency_key,),
            )
        if (gone := self._rows[new.stream]) is not None:
            self._forget(gone)
        self._make_room()
        number = self._run(_CREATE, self._made(new, idempotency_key)).lastrowid
        made = (number, new.operation, new.owner, new.fingerprint, new.request)
        self._run("insert into made values (?, ?, ?, ?, ?)", made)
        self._rows.pop(new.stream, None)
        self._streams += 1
        return new.stream

    def _made(self, new: NewStream, idempotency_key: str | None) -> tuple[Any, ...]:
        """Return the values of a new row."""
        lease = self._clock + self._limits.lease
        if new.lifetime is not None:
            lease = self._now + min(new.lifetime, FOREVER)
        generations = json.dumps([[new.generation, 1]])
        key = idempotency_key
        return new.stream, key, new.generation, generations, lease, new.lifetime, boot()

    def append(
        self,
        stream: str,
        generation: int,
        first: int,
        payloads: Sequence[bytes],
        end: EndState | None,
    ) -> AppendResult:
        """See `Store.append`."""
        row = self._row(stream)
        if row is None:
            return AppendResult.CLOSED
        if row.generation != generation:
            return AppendResult.FENCED
        stored = max(0, row.head + 1 - first)
        if row.state != "running":
            is_repeated = end == row.state and stored >= len(payloads)
            return AppendResult.OK if is_repeated else AppendResult.CLOSED
        if payloads and first > row.head + 1:
            return AppendResult.GAP
        added = payloads[stored:]
        size = sum(map(len, added))
        for sequence, payload in enumerate(added, row.head + 1):
            self._entries.append((row.number, sequence, generation, payload))
        row.head += len(added)
        row.size += size
        self._bytes += size
        row.lease, row.boot = self._clock + self._limits.lease, boot()
        if end is not None:
            row.state, row.ended = end, self._now
            self._run("update streams set ended = ? where number = ?", (self._now, row.number))
        self._touch(row, is_change=bool(payloads or end))
        return AppendResult.CANCEL if row.cancelling and end is None else AppendResult.OK

    def renew(self, writers: Mapping[str, int]) -> None:
        """See `Store`."""
        for stream, generation in writers.items():
            self.append(stream, generation, 0, (), None)

    def release(self, stream: str, generation: int) -> None:
        """See `Store`."""
        row = self._row(stream)
        if row is not None and row.generation == generation and row.state == "running":
            row.lease = self._clock
            self._touch(row, is_change=True)

    def cancel(self, stream: str) -> None:
        """See `Store.cancel`."""
        row = self._row(stream)
        if row is not None and row.state == "running":
            row.cancelling = 1
            self._touch(row, is_change=True)

    def take_over(self, stream: str) -> int | None:
        """See `Store.take_over`."""
        row = self._row(stream)
        if row is None or row.state != "running" or row.lifetime:
            return None
        if row.lease > self._clock and row.boot == boot():
            return None
        row.generation += next_step()
        row.generations = json.dumps([*json.loads(row.generations), [row.generation, row.head + 1]])
        row.lease, row.boot = self._clock + self._limits.lease, boot()
        self._touch(row, is_change=False)
        return row.generation

    def delete(self, stream: str) -> None:
        """See `Store.delete`."""
        row = self._row(stream)
        if row is not None:
            self._forget(row)
            self._deleted = self._tick
            self._changed.add(stream)

    # Rows

    def _select(self, condition: str, values: Sequence[Any]) -> list[StreamRow]:
        """Read rows, as this transaction has left them."""
        self._flush()
        rows = select(self._connection, condition, values)
        self._rows.update((row.stream, row) for row in rows)
        return rows

    def _row(self, stream: str) -> StreamRow | None:
        """Return the row of a stream; None if there is none, or if it is too old."""
        if stream not in self._rows:
            found = select(self._connection, "stream = ?", (stream,))
            self._rows[stream] = found[0] if found else None
        row = self._rows[stream]
        if row is None or self._is_aged(row, 2):
            return None
        return row if row.lifetime is None or row.lease > self._now else None

    def _is_aged(self, row: StreamRow, times: int) -> bool:
        """Return whether the retention has passed that many times since the end of the stream."""
        return row.ended is not None and self._now >= row.ended + times * self._limits.retention

    def _touch(self, row: StreamRow, *, is_change: bool) -> None:
        """Have a row written; `is_change` if subscribers should look at the stream."""
        self._dirty[row.number] = row
        if is_change:
            row.changed = self._tick
            self._changed.add(row.stream)

    def _flush(self) -> None:
        """Write the entries and rows that are not written yet."""
        if not self._dirty:
            return
        insert_entries(self._connection, self._entries)
        self._written += len(self._entries)
        self._entries.clear()
        for row in self._dirty.values():
            self._trim(row, *self._bounds.get(row.number, (_LARGEST, _LARGEST)))
        self._bounds.clear()
        update(self._connection, list(self._dirty.values()))
        self._dirty.clear()

    def _clear(self) -> None:
        self._written = 0
        for kept in (self._rows, self._dirty, self._entries, self._bounds, self._changed):
            kept.clear()

    # Limits and age

    def _trim(self, row: StreamRow, most: int, largest: int) -> None:
        """Remove the oldest entries beyond the limits of a stream, but never the last one."""
        entries = row.head - row.earliest + 1 - min(self._limits.stream_entries, most)
        size = row.size - min(self._limits.stream_bytes, largest)
        if entries > 0 or size > 0:
            count, freed = remove_oldest(self._connection, row.number, row.head, entries, size)
            row.earliest += count
            row.size -= freed
            self._bytes -= freed

    def _make_room(self) -> None:
        """Delete the streams that ended longest ago until another one fits. Raises StoreFull."""
        limits = self._limits
        while self._streams >= limits.streams or self._bytes >= limits.total_bytes:
            oldest = self._select("ended is not null order by emptied desc, ended limit 1", ())
            if not oldest:
                bound = f"{self._streams} streams and {self._bytes} bytes"
                raise StoreFull(f"the store has {bound}, and all of them are running")
            self._forget(oldest[0])

    def _clean(self) -> None:
        """Empty and delete what is too old, and remove a portion of the garbage."""
        aged = f"emptied = ? and ended <= ? order by ended limit {_STREAMS}"
        retention = self._limits.retention
        old = self._select(aged, (0, self._now - retention))
        for row in old:
            self._empty(row)
        older = self._select(aged, (1, self._now - 2 * retention))
        for row in older:
            self._forget(row)
        gone = f"lifetime is not null and lease <= ? limit {_STREAMS}"
        for row in self._select(gone, (self._now,)):
            self._forget(row)
            self._changed.add(row.stream)
        has_more = self._remove_garbage()
        self.has_garbage = has_more or max(len(old), len(older)) == _STREAMS

    def _empty(self, row: StreamRow) -> None:
        """Leave the entries of a stream to be removed."""
        self._bytes -= row.size
        row.emptied, row.size, row.earliest = 1, 0, row.head + 1
        self._dirty[row.number] = row
        self._run("update streams set emptied = 1 where number = ?", (row.number,))
        self._run("insert or ignore into garbage values (?)", (row.number,))
        self.has_garbage = True

    def _forget(self, row: StreamRow) -> None:
        """Delete a stream; its entries are removed later."""
        self._flush()
        self._empty(row)
        del self._dirty[row.number]
        self._rows[row.stream] = None
        self._run("delete from made where stream = ?", (row.number,))
        self._run("delete from marks where stream = ?", (row.number,))
        self._run("delete from streams where number = ?", (row.number,))
        self._streams -= 1

    def _remove_garbage(self) -> bool:
        """Remove a portion of the garbage, larger than what was written; return if more is left."""
        portion = _PORTION + 2 * self._written
        removed = self._run(_REMOVE, (portion,)).rowcount
        if removed < portion:
            self._run("delete from garbage")
        return removed == portion
