"""The file of a SQLite store: its tables, how it is opened, and what its errors mean."""

import sqlite3
from pathlib import Path
from typing import Final, Literal

from dual_mode_streaming.stores._base import StoreError

__all__ = ["Synchronous", "open_for_reading", "open_for_writing", "told"]

Synchronous = Literal["OFF", "NORMAL", "FULL"]
"""How much SQLite waits for the disk."""

_APPLICATION: Final = 0x444D5331  # `application_id`, so that no other's file is taken for one
_VERSION: Final = 1
_CHECKPOINT: Final = 4000  # pages: what is moved from the log (-wal) to the file at a time
_CACHE: Final = 16_000  # KiB
_KEPT: Final = 16 * 1024 * 1024  # bytes of the log that stay on the disk when it is begun anew

_SCHEMA: Final = """
create table totals (streams integer not null, bytes integer not null, tick integer not null,
  deleted integer not null);
insert into totals values (0, 0, 0, 0);
create table streams (number integer primary key autoincrement, stream text not null unique,
  claim text unique, state text not null default 'running', generation integer not null default 1,
  generations text not null default '[[1, 1]]', head integer not null default 0,
  earliest integer not null default 1, size integer not null default 0,
  cancelling integer not null default 0, lease real not null, ended real,
  emptied integer not null default 0, changed integer not null default 0);
create index streams_ended on streams (emptied desc, ended) where ended is not null;
create index streams_running on streams (number) where ended is null;
create index streams_changed on streams (changed);
create table made (stream integer primary key, operation text not null, owner text not null,
  fingerprint text not null, request blob not null);
create table garbage (stream integer primary key);
create table entries (stream integer not null, seq integer not null, generation integer not null,
  payload blob not null check (typeof(payload) = 'blob'), primary key (stream, seq)) without rowid;
"""
# `streams` has what changes of a stream, `made` what does not; elsewhere a stream is its number,
# which is never used again. `tick` counts the transactions with news, `changed` is a stream's last
# of them, and `deleted` that of the last deletion. `garbage` are the streams whose entries are
# still to be removed.


def open_for_writing(path: Path, synchronous: Synchronous, patience: float) -> sqlite3.Connection:
    """The connection that writes; the tables are made if the file is empty.

    Nobody else may write meanwhile. sqlite3.Error, or StoreError if it is another's file.
    """
    connection = sqlite3.connect(
        path, timeout=patience, isolation_level=None, check_same_thread=False
    )
    try:
        (application,) = connection.execute("pragma application_id").fetchone()
        (version,) = connection.execute("pragma user_version").fetchone()
        (tables,) = connection.execute("select count(*) from sqlite_master").fetchone()
        if tables and application != _APPLICATION:
            raise StoreError(f"{path} is a database of something else")
        if tables and version != _VERSION:
            raise StoreError(f"{path} is of version {version}, and this is {_VERSION}")
        connection.execute("pragma journal_mode = wal")
        connection.execute(f"pragma synchronous = {synchronous}")
        connection.execute(f"pragma fullfsync = {synchronous == 'FULL'}")  # matters on macOS alone
        connection.execute(f"pragma cache_size = -{_CACHE}")
        connection.execute(f"pragma wal_autocheckpoint = {_CHECKPOINT}")
        connection.execute(f"pragma journal_size_limit = {_KEPT}")
        if not tables:
            head = f"pragma application_id = {_APPLICATION}; pragma user_version = {_VERSION};"
            connection.executescript(f"begin immediate; {head} {_SCHEMA} commit")
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path, patience: float) -> sqlite3.Connection:
    """A connection that cannot write, for any thread, one at a time."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(
        address, uri=True, timeout=patience, isolation_level=None, check_same_thread=False
    )


def told(error: Exception, path: Path) -> Exception:
    """The error for the caller: a StoreError, in one line, for one of SQLite or the system."""
    if not isinstance(error, (sqlite3.Error, OSError)):
        return error
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        what = "is kept locked by another process"
    elif name.startswith("SQLITE_FULL"):
        what = "has no room left on its disk"
    elif name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        what = "is damaged, or no database"
    elif name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        what = "cannot be opened and written"
    else:
        what = "could not be used"
    failure = StoreError(f"{path} {what} ({error})")
    failure.__cause__ = error
    return failure
