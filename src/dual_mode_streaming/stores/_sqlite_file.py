"""The file of a SQLite store: its tables, how it is opened and locked, and what its errors mean."""

import functools
import os
import sqlite3
import sys
import time
from pathlib import Path
from typing import Final, Literal

from dual_mode_streaming.errors import StoreError

if sys.platform != "win32":  # on Windows only SQLite's own lock is used
    import fcntl

Synchronous = Literal["OFF", "NORMAL", "FULL"]
"""When SQLite waits for the disk: never, at checkpoints, or at every commit."""

_APPLICATION: Final = 0x444D5331  # `application_id`, which tells our files from others
_VERSION: Final = 3
_CHECKPOINT: Final = 4000  # pages in the write-ahead log before they are moved to the file
_CACHE: Final = 16_000  # KiB
_LOG_KEPT: Final = 16 * 1024 * 1024  # bytes of the write-ahead log that stay when it is restarted

_SCHEMA: Final = """
create table totals (streams integer not null, bytes integer not null, tick integer not null,
  deleted integer not null);
insert into totals values (0, 0, 0, 0);
create table streams (number integer primary key autoincrement, stream text not null unique,
  idempotency_key text unique, state text not null default 'running',
  generation integer not null default 1, generations text not null default '[[1, 1]]',
  head integer not null default 0, earliest integer not null default 1,
  size integer not null default 0, cancelling integer not null default 0, lease real not null,
  ended real, emptied integer not null default 0, changed integer not null default 0,
  lifetime real, boot text not null default '');
create index streams_ended on streams (emptied desc, ended) where ended is not null;
create index streams_running on streams (number) where ended is null;
create index streams_changed on streams (changed);
create index streams_lifetime on streams (lease) where lifetime is not null;
create table made (stream integer primary key, operation text not null, owner text not null,
  fingerprint text not null, request blob not null);
create table garbage (stream integer primary key);
create table marks (stream integer not null, name text not null, value text not null,
  generation integer not null, seq integer not null, primary key (stream, name)) without rowid;
create index marks_seq on marks (stream, seq);
create table entries (stream integer not null, seq integer not null, generation integer not null,
  payload blob not null check (typeof(payload) = 'blob'), primary key (stream, seq)) without rowid;
"""
# `streams` has what changes about a stream, `made` what does not. The other tables refer to a
# stream by its number, which is never used again. `tick` counts the transactions that changed a
# stream; `changed` is the last such tick of a stream, and `deleted` that of the last deletion.
# `lease` is a time of `time.monotonic`, valid for the start of the system that `boot` names.
# `lifetime` is null for a stream with one writer; with many, `lease` is when the stream is removed,
# by the wall clock, and `boot` belongs to the last generation.
# `garbage` lists the streams whose entries are still to be removed.


@functools.cache
def boot() -> str:
    """Return what differs from one start of the system to the next, where that can be known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def open_for_writing(path: Path, synchronous: Synchronous, timeout: float) -> sqlite3.Connection:
    """Open the connection that writes, and create the tables if the file is empty.

    The caller must hold the `FileLock`.

    Raises:
        StoreError: if the file belongs to another program or has another version.
        sqlite3.Error: if the file cannot be used.
    """
    connection = sqlite3.connect(
        path, timeout=timeout, isolation_level=None, check_same_thread=False
    )
    try:
        (application,) = connection.execute("pragma application_id").fetchone()
        (version,) = connection.execute("pragma user_version").fetchone()
        (tables,) = connection.execute("select count(*) from sqlite_master").fetchone()
        if tables and application != _APPLICATION:
            raise StoreError(f"{path} is a database of another program, not of a store")
        if tables and version != _VERSION:
            raise StoreError(f"{path} has version {version} of the tables, not {_VERSION}")
        connection.execute("pragma journal_mode = wal")
        connection.execute(f"pragma synchronous = {synchronous}")
        connection.execute(f"pragma fullfsync = {synchronous == 'FULL'}")  # only used on macOS
        connection.execute(f"pragma cache_size = -{_CACHE}")
        connection.execute(f"pragma wal_autocheckpoint = {_CHECKPOINT}")
        connection.execute(f"pragma journal_size_limit = {_LOG_KEPT}")
        if not tables:
            head = f"pragma application_id = {_APPLICATION}; pragma user_version = {_VERSION};"
            connection.executescript(f"begin immediate; {head} {_SCHEMA} commit")
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path, timeout: float) -> sqlite3.Connection:
    """Open a read-only connection. Any thread may use it, one at a time."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(
        address, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False
    )


def store_error(error: Exception, path: Path) -> Exception:
    """Return the StoreError for an error of SQLite or the system; other errors as they are."""
    if not isinstance(error, (sqlite3.Error, OSError)):
        return error
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        what = "is locked by another process"
    elif name.startswith("SQLITE_FULL"):
        what = "has no room left on its disk"
    elif name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        what = "is damaged, or is not a SQLite database"
    elif name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        what = "cannot be opened and written"
    else:
        what = "could not be used"
    failure = StoreError(f"{path} {what} ({error})")
    failure.__cause__ = error
    return failure


class FileLock:
    """A lock between processes, as a context manager, on a file of its own.

    It also remembers how far the database was, which a restored backup of that does not change.
    SQLite before 3.51.3 may lose data if two processes write and checkpoint at the same moment.
    The lock is tried every millisecond; SQLite's own lock would be tried less and less often.

    Args:
        path: the file. It is created, and it stays: two processes must not lock different files.
        timeout: the seconds to wait for the lock; then StoreError is raised.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._file: int | None = None

    def __enter__(self) -> None:
        if sys.platform == "win32":
            return
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        began = time.monotonic()
        while True:
            try:
                return fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > began + self._timeout:
                    raise StoreError(f"{self._path} is locked by another process") from None
            time.sleep(0.001)

    def __exit__(self, *_: object) -> None:
        if sys.platform != "win32" and self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    @property
    def highest(self) -> int:
        """The highest tick of the database, which the file of the lock remembers. Hold the lock."""
        held = b"" if self._file is None else os.pread(self._file, 8, 0)
        return int.from_bytes(held, "big")

    @highest.setter
    def highest(self, tick: int) -> None:
        if self._file is not None:
            os.pwrite(self._file, tick.to_bytes(8, "big"), 0)

    def hurry(self, timeout: float) -> None:
        """Wait no longer than that from now on, also in another thread that waits already."""
        self._timeout = min(self._timeout, timeout)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
