"""The threads that read a SQLite store, and what they read. They do not wait for writers."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from time import monotonic, time
from typing import Final, TypeVar

from dual_mode_streaming.stores._base import Entry, NewStream, StreamInfo
from dual_mode_streaming.stores._sqlite_file import boot, open_for_reading, store_error

T = TypeVar("T")

_THREADS: Final = 4
_ABANDONED: Final = 1000  # streams that are returned at a time


class ReaderPool:
    """A few threads, each with a read-only connection. The file must exist."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"sqlite:{path.name}")
        self._free: list[sqlite3.Connection] = []

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function in one of the threads. Raises StoreError if SQLite fails."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._do, work)

    def close(self) -> None:
        """Wait for what has begun, then end the threads. It blocks."""
        self._threads.shutdown()
        while self._free:
            self._free.pop().close()

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = None
        try:
            try:
                connection = self._free.pop()
            except IndexError:
                connection = open_for_reading(self._path, self._timeout)
            result = work(connection)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.Error):
                raise store_error(error, self._path) from error
            raise
        self._free.append(connection)
        return result


_READ: Final = """
select generation, seq, payload from entries
where stream = (select number from streams where stream = ? and (ended is null or ended > ?)
  and (lifetime is null or lease > ?))
and seq > ? order by seq limit ?
"""

_INFO: Final = """
select ended, emptied, state, head, earliest, generations, cancelling, lease, operation, owner,
  fingerprint, request, lifetime, boot
from streams join made on made.stream = number where streams.stream = ?
"""

_FIND: Final = """
select stream from streams where idempotency_key = ? and emptied is not 1
  and (ended is null or ended > ?) and (lifetime is null or lease > ?)
"""

_ENDED_LEASES: Final = """
select stream from streams
where ended is null and lifetime is null and (lease <= ? or boot <> ?) limit ?
"""


def read(
    connection: sqlite3.Connection,
    stream: str,
    after: int,
    entries: int,
    size: int,
    retention: float,
) -> list[Entry]:
    """See `Store.read`."""
    found: list[Entry] = []
    now = time()
    values = (stream, now - retention, now, after, entries)
    with closing(connection.execute(_READ, values)) as rows:
        for row in rows:
            size -= len(row[2])
            if size < 0 and found:
                break
            found.append(Entry(*row))
    return found


def info(connection: sqlite3.Connection, stream: str, retention: float) -> StreamInfo | None:
    """See `Store.info`. A stream expires by its age, even before its entries are removed."""
    row = connection.execute(_INFO, (stream,)).fetchone()
    if row is None:
        return None
    ended, emptied, state, head, earliest, generations, cancelling, lease, *made = row
    now = time()
    operation, owner, fingerprint, request, lifetime, booted = made
    if ended is not None and now >= ended + 2 * retention:
        return None
    if lifetime is not None and now >= lease:
        return None
    left = lease - monotonic() if booted == boot() else 0.0
    begun = tuple((generation, first) for generation, first in json.loads(generations))
    is_expired = bool(emptied) or (ended is not None and now >= ended + retention)
    return StreamInfo(
        new=NewStream(
            stream=stream,
            operation=operation,
            owner=owner,
            fingerprint=fingerprint,
            request=request,
            lifetime=lifetime,
            generation=begun[0][0],
        ),
        state=state,
        head=head,
        earliest=head + 1 if is_expired else earliest,
        generations=begun,
        cancelling=bool(cancelling),
        lease=lease - now if lifetime is not None else left,
        expired=is_expired,
    )


def find(connection: sqlite3.Connection, idempotency_key: str, retention: float) -> str | None:
    """See `Store.find`."""
    row = connection.execute(_FIND, (idempotency_key, time() - retention, time())).fetchone()
    return None if row is None else str(row[0])


def abandoned(connection: sqlite3.Connection) -> list[str]:
    """See `Store.abandoned`."""
    return [
        stream for (stream,) in connection.execute(_ENDED_LEASES, (monotonic(), boot(), _ABANDONED))
    ]
