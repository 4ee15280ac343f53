"""The transactions of a SQLite store for streams with many writers."""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from dual_mode_streaming.sse import EndState
from dual_mode_streaming.stores._base import (
    AppendResult,
    Mark,
    Published,
)
from dual_mode_streaming.stores._publishing import FOREVER, MARKS, next_step
from dual_mode_streaming.stores._sqlite_file import boot
from dual_mode_streaming.stores._sqlite_tables import _LARGEST, Tables

_MARK: Final = "select value, generation, seq from marks where stream = ? and name = ?"

_OLD: Final = """
delete from marks where stream = ?1 and seq <
  (select seq from marks where stream = ?1 order by seq desc limit 1 offset ?2)
"""


class AllTables(Tables):
    """`Tables`, with `publish`."""

    @property
    def tick(self) -> int:
        """The tick that the file has after this transaction."""
        return self._tick if self._changed else self._totals[2]

    def compare(self, highest: int) -> None:
        """Begin other generations if the file is older than it was: a backup was restored."""
        if self._totals[2] < highest:
            self._run("update streams set boot = '' where lifetime is not null")

    def publish(
        self,
        stream: str,
        payloads: Sequence[bytes],
        end: EndState | None,
        marks: Mapping[str, tuple[str | None, str]],
        lifetime: float | None,
        entries: int | None,
        size: int | None,
    ) -> Published:
        """See `Store.publish`."""
        row = self._row(stream)
        if row is None or row.lifetime is None:
            return Published(AppendResult.CLOSED, 0, 0, {})
        held = {}
        for name in marks:
            if found := self._run(_MARK, (row.number, name)).fetchone():
                held[name] = Mark(*found)
        for name, (expected, _) in marks.items():
            if (held[name].value if name in held else None) != expected:
                return Published(AppendResult.CONFLICT, row.generation, row.head, held)
        has_more = bool(payloads or end)
        if row.state != "running" and has_more:
            return Published(AppendResult.CLOSED, row.generation, row.head, {})
        if row.boot != boot() and payloads:  # a power cut may have taken the last entries
            row.boot = boot()
            row.generation += next_step()
            begun = [*json.loads(row.generations), [row.generation, row.head + 1]]
            row.generations = json.dumps(begun)
        for sequence, payload in enumerate(payloads, row.head + 1):
            self._entries.append((row.number, sequence, row.generation, payload))
        added = sum(map(len, payloads))
        before, row.head = row.head, row.head + len(payloads)
        row.size += added
        self._bytes += added
        if lifetime is not None:
            row.lease = self._now + min(lifetime, FOREVER)
        if end is not None:
            row.state, row.ended = end, self._now
            self._run("update streams set ended = ? where number = ?", (self._now, row.number))
        for name, (_, value) in marks.items():
            values = (row.number, name, value, row.generation, row.head)
            self._run("insert or replace into marks values (?, ?, ?, ?, ?)", values)
        if marks and before // 1000 != row.head // 1000:
            self._run(_OLD, (row.number, MARKS))
        self._bounds[row.number] = (entries or _LARGEST, size or _LARGEST)
        self._touch(row, is_change=has_more)
        return Published(AppendResult.OK, row.generation, row.head, {})
