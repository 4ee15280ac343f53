"""What a SQLite store's requests change, each within the transaction of its group."""

import json
import sqlite3
from collections.abc import Sequence
from typing import Final

from dual_mode_streaming.sse import EndState
from dual_mode_streaming.stores._base import AppendResult, Limits, NewStream, StoreFull
from dual_mode_streaming.stores._sqlite_rows import SELECT, Row, Transaction

__all__ = ["Tables"]

_PORTION: Final = 1000  # entries that are removed at a time, and
_PORTION_BYTES: Final = 4 * 1024 * 1024  # their bytes
_STREAMS: Final = 100  # that are emptied or forgotten at a time


class Tables(Transaction):
    """The requests of a `Store`, and what goes on beside them."""

    def __init__(self, connection: sqlite3.Connection, limits: Limits) -> None:
        super().__init__(connection, limits)
        self._swept = 0.0

    def create(self, new: NewStream, idempotency_key: str | None) -> str:
        """See `Store.create`."""
        row = self.row(new.stream)
        if row is not None:
            return row.stream  # by the same call, whose outcome was not known
        if idempotency_key is not None:
            found = self.run(
                "select stream from streams where claim = ?", (idempotency_key,)
            ).fetchone()
            held = self.row(found[0]) if found else None
            if held is not None and not self.is_aged(held, 1):
                return held.stream
            self.run("update streams set claim = null where claim = ?", (idempotency_key,))
        self._make_room()
        number = self.run(
            "insert into streams (stream, claim, lease) values (?, ?, ?)",
            (new.stream, idempotency_key, self.now + self.limits.lease),
        ).lastrowid
        known = (number, new.operation, new.owner, new.fingerprint, new.request)
        self.run("insert into made values (?, ?, ?, ?, ?)", known)
        self.rows.pop(new.stream, None)
        self.streams += 1
        return new.stream

    def append(
        self,
        stream: str,
        generation: int,
        first: int,
        payloads: Sequence[bytes],
        end: EndState | None,
    ) -> AppendResult:
        """See `Store.append`."""
        row = self.row(stream)
        if row is None:
            return AppendResult.CLOSED
        if row.generation != generation:
            return AppendResult.FENCED
        known = max(0, row.head + 1 - first)
        if row.state != "running":
            again = end == row.state and known >= len(payloads)
            return AppendResult.OK if again else AppendResult.CLOSED
        if payloads and first > row.head + 1:
            return AppendResult.GAP
        added = payloads[known:]
        size = sum(map(len, added))
        for sequence, payload in enumerate(added, row.head + 1):
            self.entries.append((row.number, sequence, generation, payload))
        row.head += len(added)
        row.size += size
        self.bytes += size
        row.lease = self.now + self.limits.lease
        self.hot[row.number] = row
        if end is not None:
            row.state, row.ended = end, self.now
            self.cold[row.number] = row
        if payloads or end:
            self.tell(row)
        return AppendResult.CANCEL if row.cancelling and end is None else AppendResult.OK

    def cancel(self, stream: str) -> None:
        """See `Store.cancel`."""
        row = self.row(stream)
        if row is not None and row.state == "running":
            row.cancelling = 1
            self.cold[row.number] = row
            self.tell(row)

    def take_over(self, stream: str) -> int | None:
        """See `Store.take_over`."""
        row = self.row(stream)
        if row is None or row.state != "running" or row.lease > self.now:
            return None
        row.generation += 1
        row.generations = json.dumps([*json.loads(row.generations), [row.generation, row.head + 1]])
        row.lease = self.now + self.limits.lease
        self.hot[row.number] = self.cold[row.number] = row
        return row.generation

    def delete(self, stream: str) -> None:
        """See `Store.delete`."""
        row = self.row(stream)
        if row is not None:
            self._forget(row)
            self.news.add(stream)
            self.deleted = self.tick + 1

    def sweep(self, pause: float) -> bool:
        """Empty and forget what is too old, and remove a portion of the entries that were of it.

        What is too old is looked for once in a `pause`. Out: there is more to do.
        """
        self.flush()
        old: list[Row] = []
        if not self._swept <= self.now < self._swept + pause:
            for emptied in (0, 1):
                before = self.now - self.limits.retention * (1 + emptied)
                found = f"{SELECT} where emptied = ? and ended <= ? order by ended limit {_STREAMS}"
                old += [Row(*values) for values in self.run(found, (emptied, before))]
            for row in old:
                if row.emptied:
                    self._forget(row)
                else:
                    self._empty(row)
            self._swept = self.now if len(old) < _STREAMS else 0.0
        return self._remove() or len(old) >= _STREAMS

    def _make_room(self) -> None:
        """Forget what ended longest ago until one more fits. Raises StoreFull."""
        limits = self.limits
        while self.streams >= limits.streams or self.bytes >= limits.total_bytes:
            self.flush()
            oldest = f"{SELECT} where ended is not null order by emptied desc, ended limit 1"
            values = self.run(oldest).fetchone()
            if values is None:
                bound = f"{self.streams} streams and {self.bytes} bytes"
                raise StoreFull(f"the store has {bound}, and all of them are running")
            self._forget(Row(*values))

    def _empty(self, row: Row) -> None:
        """Let go of all entries of a stream that has ended; it is remembered."""
        self.rows.pop(row.stream, None)
        self.run(
            "update streams set emptied = 1, size = 0, earliest = head + 1 where number = ?",
            (row.number,),
        )
        self.bytes -= row.size
        self.run("insert or ignore into garbage values (?)", (row.number,))

    def _forget(self, row: Row) -> None:
        """Remember a stream no longer; its entries are removed by and by."""
        self.flush()
        self._empty(row)
        self.run("delete from made where stream = ?", (row.number,))
        self.run("delete from streams where number = ?", (row.number,))
        self.streams -= 1

    def _remove(self) -> bool:
        """Remove a portion of the garbage, and more than was written; out: there is more."""
        entries, size = _PORTION + 2 * self.written, _PORTION_BYTES
        while entries > 0 and size > 0:
            found = self.run("select stream from garbage limit 1").fetchone()
            if found is None:
                return False
            count, freed = self.cut(found[0], lambda n, b: n >= entries or b >= size)  # noqa: B023
            entries -= count
            size -= freed
            if entries > 0 and size > 0:  # there were no more of that stream
                entries -= 1
                self.run("delete from garbage where stream = ?", found)
        return True
