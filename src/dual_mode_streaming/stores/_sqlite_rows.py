"""The rows of a SQLite store: how streams and entries are read and written."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from itertools import chain
from operator import attrgetter
from typing import Any, Final

from dual_mode_streaming.sse import State

EntryRow = tuple[int, int, int, bytes]
"""A row of `entries`: the number of the stream, sequence, generation, payload."""

_AT_ONCE: Final = (256, 16, 1)  # entries of one statement: few lengths, so that it stays prepared
_INSERTS: Final = [
    (count, f"insert into entries values {', '.join(['(?, ?, ?, ?)'] * count)}")  # noqa: S608
    for count in _AT_ONCE
]


@dataclass(slots=True)
class StreamRow:
    """A row of `streams`."""

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
    lifetime: float | None
    boot: str


_COLUMNS: Final = [field.name for field in fields(StreamRow)]
_SELECT: Final = f"select {', '.join(_COLUMNS)} from streams"  # noqa: S608
_RUNNING: Final = [
    name for name in _COLUMNS if name not in ("number", "stream", "ended", "emptied", "lifetime")
]
_SET: Final = ", ".join(f"{name} = ?" for name in _RUNNING)
_UPDATE: Final = f"update streams set {_SET} where number = ?"  # noqa: S608
_VALUES: Final = attrgetter(*_RUNNING, "number")


def select(
    connection: sqlite3.Connection, condition: str, values: Sequence[Any]
) -> list[StreamRow]:
    """Return the rows of `streams` that meet a condition."""
    return [StreamRow(*row) for row in connection.execute(f"{_SELECT} where {condition}", values)]


def update(connection: sqlite3.Connection, rows: Sequence[StreamRow]) -> None:
    """Write rows of `streams`, without `ended` and `emptied`: their index makes that expensive."""
    connection.executemany(_UPDATE, map(_VALUES, rows))


def insert_entries(connection: sqlite3.Connection, entries: Sequence[EntryRow]) -> None:
    """Insert entries, many with one statement: each statement costs as much as some entries."""
    start = 0
    for count, statement in _INSERTS:
        while len(entries) - start >= count:
            values = chain.from_iterable(entries[start : start + count])
            connection.execute(statement, tuple(values))
            start += count


def remove_oldest(
    connection: sqlite3.Connection, number: int, before: int, entries: int, size: int
) -> tuple[int, int]:
    """Remove at least `entries` of a stream's oldest entries, and at least `size` bytes of them.

    The entry `before` and later ones stay. Returns how many were removed, and their size in bytes.
    """
    count = freed = last = 0
    oldest = "select seq, length(payload) from entries where stream = ? and seq < ? order by seq"
    with closing(connection.execute(oldest, (number, before))) as rows:
        while (count < entries or freed < size) and (entry := rows.fetchone()):
            last = entry[0]
            count += 1
            freed += entry[1]
    connection.execute("delete from entries where stream = ? and seq <= ?", (number, last))
    return count, freed
