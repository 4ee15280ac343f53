"""The thread that writes a SQLite store: what waits for it is committed in one transaction."""

import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dual_mode_streaming.errors import StoreError
from dual_mode_streaming.stores._base import Limits
from dual_mode_streaming.stores._sqlite_file import (
    FileLock,
    Synchronous,
    open_for_writing,
    store_error,
)
from dual_mode_streaming.stores._sqlite_publish import AllTables

_GROUP: Final = 1024  # requests of one transaction
_LOOK: Final = 0.02  # seconds between two looks for what other processes have written
_PORTION_PAUSE: Final = 0.005  # seconds between two portions of garbage, if there are no requests
_LONGEST_LOG: Final = 64 * 1024 * 1024  # bytes of the write-ahead log before readers are waited for
_LOG_TIMEOUT: Final = 0.05  # seconds to wait for them, and
_LOG_PAUSE: Final = 1.0  # before it is tried again
_LAST_WAIT: Final = 1.0  # seconds to wait for the lock once the thread is to end
_LOST: Final = ("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_READONLY")


@dataclass(slots=True)
class WriteRequest:
    """A piece of work within a transaction, and then its result: a value or an exception.

    `waiter` is left to the caller.
    """

    work: Callable[[AllTables], Any]
    waiter: Any = None
    value: Any = None
    error: Exception | None = None


class WriterThread(threading.Thread):
    """Does requests in the order in which they were put.

    Args:
        path: the database.
        limits: the limits of the store.
        synchronous: when SQLite waits for the disk.
        timeout: the seconds to wait for a lock that another process holds.
        deliver: called in this thread, after a commit, with the requests that are done and with
            the streams that any process has changed (None: all). It must return at once.
        release: called at the end, to close all other connections. The last connection removes
            the write-ahead log.
    """

    def __init__(
        self,
        path: Path,
        limits: Limits,
        synchronous: Synchronous,
        timeout: float,
        deliver: Callable[[list[WriteRequest], set[str] | None], None],
        release: Callable[[], None],
    ) -> None:
        super().__init__(name=f"sqlite:{path.name}", daemon=True)
        self.is_watching = False
        """Whether changes of streams are to be delivered."""
        self.ended: Future[None] = Future()
        """Done when the file is closed."""
        self._path = path
        self._limits = limits
        self._synchronous: Synchronous = synchronous
        self._timeout = timeout
        self._deliver = deliver
        self._release = release
        self._requests: queue.SimpleQueue[WriteRequest | None] = queue.SimpleQueue()
        self._lock = FileLock(Path(f"{path}-lock"), timeout)
        self._connection: sqlite3.Connection | None = None
        self._tables: AllTables | None = None
        self._pause = min(max(limits.retention / 10, 0.05), 10.0)  # between two cleanings
        self._clean_at = time.monotonic() + self._pause
        self._log_tried = 0.0

    def put(self, request: WriteRequest) -> None:
        """Have a request done. May be called from any thread."""
        self._requests.put(request)

    def stop(self) -> None:
        """End the thread after the requests that were put before. It waits for no other process."""
        self._lock.hurry(_LAST_WAIT)
        self._requests.put(None)

    def run(self) -> None:
        """Serve requests until `stop`; clean up and look for changes in between."""
        is_stopped = False
        while not is_stopped:
            group, is_stopped = self._next()
            if group or self._is_cleaning_due():
                self._serve(group)
                self._restart_log()
            elif self.is_watching and self._tables is not None:
                self._deliver_with_changes([])
        self._release()
        try:
            with self._lock:
                self._close_connection()
        except (OSError, StoreError):
            self._close_connection()
        self._lock.close()
        self.ended.set_result(None)

    def _is_cleaning_due(self) -> bool:
        has_garbage = self._tables is not None and self._tables.has_garbage
        return has_garbage or time.monotonic() >= self._clean_at

    def _next(self) -> tuple[list[WriteRequest], bool]:
        """Return the requests that wait, or none after a while; and whether to stop."""
        group: list[WriteRequest] = []
        pause = max(0.0, self._clean_at - time.monotonic())
        if self._tables is not None and self._tables.has_garbage:
            pause = _PORTION_PAUSE
        elif self.is_watching:
            pause = min(pause, _LOOK)
        try:
            request = self._requests.get(timeout=pause)
            while request is not None:
                group.append(request)
                if len(group) == _GROUP:
                    return group, False
                request = self._requests.get_nowait()
        except queue.Empty:
            return group, False
        return group, True

    def _serve(self, group: list[WriteRequest]) -> None:
        """Do a group in one transaction; if one request spoils it, each in one of its own."""
        is_within = False
        try:
            with self._lock:
                tables = self._tables or self._open()
                tables.begin()
                is_within = True
                highest = self._lock.highest
                tables.compare(highest)
                for request in group:
                    try:
                        request.value = request.work(tables)
                    except StoreError as error:
                        request.error = error
                is_due = time.monotonic() >= self._clean_at
                tables.finish(clean=is_due)
                is_within = False
                if tables.tick != highest:
                    self._lock.highest = tables.tick
                tables.commit()
        except Exception as error:
            self._recover(error)
            if is_within and len(group) > 1:
                for request in group:
                    request.error = None
                    self._serve([request])
                return
            for request in group:
                request.error = store_error(error, self._path)
            is_due = True
        if is_due:
            self._clean_at = time.monotonic() + self._pause
        self._deliver_with_changes(group)

    def _deliver_with_changes(self, group: list[WriteRequest]) -> None:
        changed: set[str] | None = set()
        if self._tables is not None and not self.is_watching:
            self._tables.ignore_changes()
        elif self._tables is not None:
            try:
                changed = self._tables.changes()
            except sqlite3.Error:
                changed = None  # subscribers will look, and see what is wrong
        if group or changed is None or changed:
            self._deliver(group, changed)

    def _open(self) -> AllTables:
        """Open the file, with the lock held."""
        self._connection = open_for_writing(self._path, self._synchronous, self._timeout)
        self._tables = AllTables(self._connection, self._limits)
        return self._tables

    def _recover(self, error: Exception) -> None:
        """Roll back; close a connection that is broken, so that the next group opens another."""
        try:
            if self._tables is not None:
                self._tables.rollback()
            is_lost = getattr(error, "sqlite_errorname", "").startswith(_LOST)
        except sqlite3.Error:
            is_lost = True
        if is_lost:
            self._close_connection()

    def _restart_log(self) -> None:
        """Restart a long write-ahead log. SQLite itself does it only when no reader is active."""
        now = time.monotonic()
        if self._connection is None or now < self._log_tried + _LOG_PAUSE:
            return
        self._log_tried = now
        run = self._connection.execute
        try:
            if os.stat(f"{self._path}-wal").st_size > _LONGEST_LOG:
                with self._lock:
                    run(f"pragma busy_timeout = {_LOG_TIMEOUT * 1000:.0f}")
                    run("pragma wal_checkpoint(truncate)")
        except (OSError, sqlite3.Error, StoreError):
            pass  # it is tried again
        finally:
            with contextlib.suppress(sqlite3.Error):  # the next group finds what is broken
                run(f"pragma busy_timeout = {self._timeout * 1000:.0f}")

    def _close_connection(self) -> None:
        connection, self._connection, self._tables = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
