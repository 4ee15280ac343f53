"""The thread that does all writing of a SQLite store: what waits is written in one transaction.

Of several processes one at a time writes or checkpoints, as SQLite before 3.51.3 may lose data if
two do at the same instant. They take turns by a lock on a file beside the database, `PATH-lock`,
which is tried every millisecond: SQLite itself would wait longer and longer.
"""

import contextlib
import os
import queue
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dual_mode_streaming.stores._base import Limits, StoreError
from dual_mode_streaming.stores._sqlite_file import Synchronous, open_for_writing, told
from dual_mode_streaming.stores._sqlite_tables import Tables

if sys.platform != "win32":  # there it is SQLite's own lock alone
    import fcntl

__all__ = ["Answer", "News", "Request", "Writer"]

News = set[str] | None
"""Streams of which there may be news; None: of all."""

_GROUP: Final = 1024  # requests of a transaction
_LOOK: Final = 0.02  # seconds between two looks for what others have written
_BREATH: Final = 0.005  # seconds between two portions that are swept, if nothing else is to do
_LONGEST_LOG: Final = 64 * 1024 * 1024  # bytes; then readers are waited for, to begin it anew:
_LOG_PATIENCE: Final = 0.05  # seconds, and not again before
_LOG_PAUSE: Final = 1.0  # others
_LOST: Final = ("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_READONLY")


@dataclass(slots=True)
class Request:
    """What is to be done within a transaction, of which stream, and who waits for it."""

    stream: str
    work: Callable[[Tables], Any]
    waiter: Any = None


@dataclass(slots=True)
class Answer:
    """What came of a request: a value, or an exception."""

    request: Request
    value: Any = None
    error: Exception | None = None


class Writer(threading.Thread):
    """Does the requests, in the order of `put`; calls `answer` in this thread, after the commit.

    `answer` takes the answers and the news, and is to return at once. After `stop`, what was put
    before is still done; then it calls `ending`, which lets go of what reads the file, so that the
    last connection is this one and takes the log away; then, closed, `ended`.
    """

    def __init__(
        self,
        path: Path,
        limits: Limits,
        synchronous: Synchronous,
        patience: float,
        answer: Callable[[list[Answer], News], None],
        ending: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:
        super().__init__(name=f"sqlite:{path.name}", daemon=True)
        self.is_watching = False
        """Whether news of other processes are wanted."""
        self._path = path
        self._limits = limits
        self._synchronous: Synchronous = synchronous
        self._patience = patience
        self._answer = answer
        self._ending = ending
        self._ended = ended
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._turn = _Turn(Path(f"{path}-lock"), patience)
        self._connection: sqlite3.Connection | None = None
        self._tables: Tables | None = None
        self._pause = min(max(limits.retention / 10, 0.05), 10.0)  # between two sweeps
        self._has_more = False  # to sweep
        self._log_tried = 0.0

    def put(self, request: Request) -> None:
        """Have it done; from any thread."""
        self._requests.put(request)

    def stop(self) -> None:
        """End the thread, after all that was put."""
        self._requests.put(None)

    def run(self) -> None:
        """The thread."""
        swept = time.monotonic()
        is_stopped = False
        while not is_stopped:
            group, is_stopped = self._next(swept)
            now = time.monotonic()
            if group or now >= swept + self._pause or self._has_more:
                swept = now
                self._serve(group)
            elif self.is_watching:
                self._look()
        self._ending()
        self._close()
        self._ended()

    def _next(self, swept: float) -> tuple[list[Request], bool]:
        """What waits, or nothing after a while; and whether it is the last."""
        group: list[Request] = []
        pause = max(0.0, swept + self._pause - time.monotonic())
        if self._has_more:
            pause = _BREATH
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

    def _serve(self, group: list[Request]) -> None:
        """Do a group; if one spoils the transaction, each in one of its own."""
        news: set[str] = set()
        try:
            answers, others = self._transact(group, news)
        except _Spoiled as spoiled:
            if len(group) > 1:
                self._answer([], None)
                for request in group:
                    self._serve([request])
                return
            answers, others = self._failed(group, spoiled.error), None
        except Exception as error:
            answers, others = self._failed(group, error), None
        told_of = None if others is None else others | news
        if answers or told_of is None or told_of:
            self._answer(answers, told_of)
        self._begin_log_anew()

    def _transact(self, group: list[Request], news: set[str]) -> tuple[list[Answer], News]:
        """Do a group in one transaction; out: the answers, and the news of others.

        _Spoiled if nothing of it was done for one of the requests, any other error for all of them.
        """
        answers: list[Answer] = []
        others: News = set()
        with self._turn:
            tables = self._tables or self._open()
            tables.begin(request.stream for request in group)
            try:
                if self.is_watching:
                    others = tables.others()
                for request in group:
                    try:
                        answers.append(Answer(request, request.work(tables)))
                    except StoreError as error:
                        answers.append(Answer(request, error=error))
                tables.flush()
                self._has_more = tables.sweep(self._pause)
                news |= tables.news
            except Exception as error:
                news.clear()
                self._has_more = False
                tables.rollback()
                raise _Spoiled(error) from error
            tables.commit()
        return answers, others

    def _failed(self, group: Iterable[Request], error: Exception) -> list[Answer]:
        """The answers if nothing could be done; what is broken is opened anew by the next."""
        self._has_more = False
        name = getattr(error, "sqlite_errorname", "")
        if self._tables is not None and name.startswith(_LOST):
            self._let_go()
        elif self._tables is not None:
            try:
                self._tables.rollback()
            except sqlite3.Error:
                self._let_go()
        return [Answer(request, error=told(error, self._path)) for request in group]

    def _open(self) -> Tables:
        """The tables; the turn must be had."""
        self._connection = open_for_writing(self._path, self._synchronous, self._patience)
        self._tables = Tables(self._connection, self._limits)
        return self._tables

    def _look(self) -> None:
        """Tell of what others have written."""
        if self._tables is not None:
            try:
                news = self._tables.others()
            except sqlite3.Error:
                news = None  # the readers will hear what is wrong
            if news is None or news:
                self._answer([], news)

    def _begin_log_anew(self) -> None:
        """SQLite does it by itself if no reader is in its way at that moment."""
        now = time.monotonic()
        if self._connection is None or now < self._log_tried + _LOG_PAUSE:
            return
        self._log_tried = now
        run = self._connection.execute
        try:
            if os.stat(f"{self._path}-wal").st_size > _LONGEST_LOG:
                with self._turn:
                    run(f"pragma busy_timeout = {_LOG_PATIENCE * 1000:.0f}")
                    run("pragma wal_checkpoint(truncate)")
        except (OSError, sqlite3.Error, StoreError):
            pass  # then later
        finally:
            with contextlib.suppress(sqlite3.Error):  # what is broken the next group will find
                run(f"pragma busy_timeout = {self._patience * 1000:.0f}")

    def _let_go(self) -> None:
        connection, self._connection, self._tables = self._connection, None, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error:
                pass

    def _close(self) -> None:
        try:
            with self._turn:
                self._let_go()
        except (OSError, StoreError):
            self._let_go()
        self._turn.close()


class _Spoiled(Exception):
    """One request has made the transaction impossible."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class _Turn:
    """The lock by which processes take turns, as a context; StoreError after `patience` seconds."""

    def __init__(self, path: Path, patience: float) -> None:
        self._path = path
        self._patience = patience
        self._file: int | None = None

    def __enter__(self) -> None:
        if sys.platform == "win32":
            return
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreError(f"{self._path} is kept locked by another process") from None
            time.sleep(0.001)

    def __exit__(self, *_: object) -> None:
        if sys.platform != "win32" and self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file, which stays: to remove it would part those who have it open."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
