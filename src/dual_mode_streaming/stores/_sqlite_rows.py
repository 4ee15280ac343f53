"""The transaction of a SQLite store: rows are read once, and what is decided on them is gathered.

It is written in few statements, since each one lets go of the interpreter's lock, and a busy event
loop gives it back late.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from itertools import chain
from operator import attrgetter
from time import time
from typing import Final, TypeVar

from dual_mode_streaming.stores._base import Limits, State

__all__ = ["SELECT", "Row", "Transaction"]

T = TypeVar("T")

_CHUNKS: Final = (256, 64, 16, 4, 1)  # rows of a statement: few lengths, so that all stay prepared
_MANY: Final = 1000  # transactions with news, of which it is not asked any more which they are


@dataclass(slots=True)
class Row:
    """What changes of a stream, as it is within the transaction."""

    number: int
    stream: str
    state: State
    generation: int
    generations: str
    head: int
    earliest: int
    size: int
    cancelling: int
    lease: float
    ended: float | None
    emptied: int
    changed: int


SELECT: Final = f"select {', '.join(field.name for field in fields(Row))} from streams"  # noqa: S608
"""Rows, to which a condition is added."""

_HOT: Final = ("head", "earliest", "size", "lease", "changed")
_VALUES: Final = attrgetter("number", *_HOT)
_COLD: Final = ("state", "generation", "generations", "cancelling", "ended", "emptied")


class Transaction:
    """One after another, on the connection that writes. One thread.

    `news` are the streams that this one has changed, `now` is its time, and `streams` and `bytes`
    are what there is of them in all.
    """

    def __init__(self, connection: sqlite3.Connection, limits: Limits) -> None:
        self.news: set[str] = set()
        self.now = 0.0
        self.limits = limits
        self.run = connection.execute
        self.streams = self.bytes = self.tick = self.deleted = 0  # as in `totals`
        self.rows: dict[str, Row | None] = {}
        self.hot: dict[int, Row] = {}
        self.cold: dict[int, Row] = {}
        self.entries: list[tuple[int, int, int, bytes]] = []
        self.written = 0
        self._connection = connection
        self._seen: int | None = None  # the tick up to which the news of others are known

    def begin(self, streams: Iterable[str]) -> None:
        """Begin one, which will ask for some streams."""
        self.run("begin immediate")
        self.now = time()
        self._clear()
        totals = self.run("select streams, bytes, tick, deleted from totals").fetchone()
        self.streams, self.bytes, self.tick, self.deleted = totals
        self.rows = dict.fromkeys(streams)
        for part in _chunks(list(self.rows)):
            marks = ", ".join("?" * len(part))
            for values in self.run(f"{SELECT} where stream in ({marks})", part):
                self.rows[values[1]] = Row(*values)

    def commit(self) -> None:
        """Write what is left to be written, and commit."""
        self.flush()
        seen = self.tick
        self.tick += bool(self.news)
        totals = (self.streams, self.bytes, self.tick, self.deleted)
        self.run(  # numbered placeholders would be shorter, and CPython 3.12.1 warns of them
            "update totals set streams = ?, bytes = ?, tick = ?, deleted = ?"
            " where (streams, bytes, tick, deleted) <> (?, ?, ?, ?)",
            totals + totals,
        )
        self.run("commit")
        if self._seen == seen:
            self._seen = self.tick

    def rollback(self) -> None:
        """Nothing of it has happened."""
        self._clear()
        if self._connection.in_transaction:
            self.run("rollback")

    def flush(self) -> None:
        """Write what is decided so far."""
        for part in _chunks(self.entries):
            marks = ", ".join(["(?, ?, ?, ?)"] * len(part))
            self.run(
                f"insert into entries values {marks}",  # noqa: S608
                list(chain.from_iterable(part)),
            )
        self.written += len(self.entries)
        self.entries.clear()
        for row in self.hot.values():
            self._trim(row)
        sets = ", ".join(f"{name} = v.column{place}" for place, name in enumerate(_HOT, 2))
        for rows in _chunks(list(self.hot.values())):
            marks = ", ".join([f"(?{', ?' * len(_HOT)})"] * len(rows))
            self.run(
                f"update streams set {sets} from (values {marks}) v where number = v.column1",  # noqa: S608
                list(chain.from_iterable(map(_VALUES, rows))),
            )
        self.hot.clear()
        sets = ", ".join(f"{name} = ?" for name in _COLD)
        for row in self.cold.values():
            known = [getattr(row, name) for name in (*_COLD, "number")]
            self.run(f"update streams set {sets} where number = ?", known)  # noqa: S608
        self.cold.clear()

    def others(self) -> set[str] | None:
        """The streams with news since this was last asked; mostly without those committed here.

        None: any may have some, since one was deleted, or nobody has asked for a long time.
        """
        tick, deleted = self.run("select tick, deleted from totals").fetchone()
        seen, self._seen = self._seen, tick
        if seen is None or deleted > seen or tick > seen + _MANY:
            return None
        changed = "select stream from streams where changed > ?"
        return {stream for (stream,) in self.run(changed, (seen,))} if tick != seen else set()

    def row(self, stream: str) -> Row | None:
        """A stream's row, as this transaction has left it; None if there is none, or no longer."""
        if stream not in self.rows:
            values = self.run(f"{SELECT} where stream = ?", (stream,)).fetchone()
            self.rows[stream] = Row(*values) if values else None
        row = self.rows[stream]
        return None if row is None or self.is_aged(row, 2) else row

    def is_aged(self, row: Row, times: int) -> bool:
        """Whether the retention has passed so often since the stream's end."""
        return row.ended is not None and self.now >= row.ended + times * self.limits.retention

    def tell(self, row: Row) -> None:
        """There are news of the stream."""
        row.changed = self.tick + 1
        self.hot[row.number] = row
        self.news.add(row.stream)

    def cut(
        self, number: int, enough: Callable[[int, int], bool], before: int = 2**62
    ) -> tuple[int, int]:
        """Remove a stream's oldest entries until their number and bytes are `enough`.

        None from the sequence `before` on. Out: how many there were, and their bytes.
        """
        count = freed = last = 0
        found = "select seq, length(payload) from entries where stream = ? and seq < ? order by seq"
        with closing(self.run(found, (number, before))) as oldest:
            while not enough(count, freed) and (entry := oldest.fetchone()):
                last = entry[0]
                count += 1
                freed += entry[1]
        self.run("delete from entries where stream = ? and seq <= ?", (number, last))
        return count, freed

    def _clear(self) -> None:
        self.news = set()
        self.written = 0
        for kept in (self.rows, self.hot, self.cold, self.entries):
            kept.clear()

    def _trim(self, row: Row) -> None:
        """Let go of the oldest entries beyond the bounds of a stream, but never of the last."""
        entries = row.head - row.earliest + 1 - self.limits.stream_entries
        size = row.size - self.limits.stream_bytes
        if entries > 0 or size > 0:
            count, freed = self.cut(row.number, lambda n, b: n >= entries and b >= size, row.head)
            row.earliest += count
            row.size -= freed
            self.bytes -= freed


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """All items, in pieces of few different lengths."""
    start = 0
    for length in _CHUNKS:
        while len(items) - start >= length:
            yield items[start : start + length]
            start += length
