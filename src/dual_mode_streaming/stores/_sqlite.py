"""Streams in a file of SQLite: they survive the process, and several processes may share them.

All of them on one machine, whose clock (`time.time`) is the store's. One thread writes; what waits
for it is committed together, so that a hundred producers need one flush of the disk and not a
hundred. A few others read. Beside the file are its log (`-wal`, `-shm`), and `-lock`.
"""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

from dual_mode_streaming.sse import EndState
from dual_mode_streaming.stores import _sqlite_reader as reader
from dual_mode_streaming.stores._base import (
    AppendResult,
    Entry,
    Limits,
    NewStream,
    StoreError,
    StreamInfo,
    check_stream,
)
from dual_mode_streaming.stores._sqlite_file import Synchronous
from dual_mode_streaming.stores._sqlite_tables import Tables
from dual_mode_streaming.stores._sqlite_writer import Answer, News, Request, Writer

__all__ = ["SQLiteStore"]

T = TypeVar("T")

_WAITING: Final = 1024  # requests that the writer has; more of them wait


class SQLiteStore:
    """The streams of a file, which is opened on first use, and made if there is none.

    `synchronous` says how much is waited for the disk. With FULL an entry that is acknowledged
    survives a power cut, if the disk honours a flush; with NORMAL the last ones may be gone after
    one; with OFF the whole file may be. All survive the death of the process. `patience` are the
    seconds for which another process may keep the file locked; then it is a StoreError.

    ValueError if the path cannot be one, as its directory is missing.
    """

    shared = True

    def __init__(
        self,
        path: str | Path,
        limits: Limits | None = None,
        *,
        synchronous: Synchronous = "FULL",
        patience: float = 5.0,
    ) -> None:
        if sqlite3.sqlite_version_info < (3, 33):
            raise ValueError(f"SQLite 3.33 is needed at least, not {sqlite3.sqlite_version}")
        if synchronous not in get_args(Synchronous):
            raise ValueError(f"synchronous is OFF, NORMAL or FULL, not {synchronous!r}")
        self._path = _checked(path)
        self.limits = limits or Limits()
        self._synchronous: Synchronous = synchronous
        self._patience = patience
        self._writer: Writer | None = None
        self._is_open = False
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots = asyncio.Semaphore(_WAITING)
        self._reader = reader.Reader(self._path, patience)
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        self._closing = threading.Lock()
        self._has_ended = False
        self._waiting_for_end: list[asyncio.Future[None]] = []

    async def create(self, new: NewStream, idempotency_key: str | None = None) -> str:
        """See `Store.create`."""
        made: str = await self._do(new.stream, lambda tables: tables.create(new, idempotency_key))
        return made

    async def append(
        self,
        stream: str,
        generation: int,
        first: int,
        payloads: Sequence[bytes],
        *,
        end: EndState | None = None,
    ) -> AppendResult:
        """See `Store.append`."""
        kept = tuple(payloads)
        verdict: AppendResult = await self._do(
            stream, lambda tables: tables.append(stream, generation, first, kept, end)
        )
        return verdict

    async def read(
        self, stream: str, after: int, *, entries: int = 1000, size: int = 1024 * 1024
    ) -> list[Entry]:
        """See `Store.read`."""
        check_stream(stream)
        retention = self.limits.retention
        return await self._read(
            lambda connection: reader.read(connection, stream, after, entries, size, retention)
        )

    async def info(self, stream: str) -> StreamInfo | None:
        """See `Store.info`."""
        check_stream(stream)
        retention = self.limits.retention
        return await self._read(lambda connection: reader.info(connection, stream, retention))

    async def cancel(self, stream: str) -> None:
        """See `Store.cancel`."""
        await self._do(stream, lambda tables: tables.cancel(stream))

    async def take_over(self, stream: str) -> int | None:
        """See `Store.take_over`."""
        generation: int | None = await self._do(stream, lambda tables: tables.take_over(stream))
        return generation

    async def abandoned(self) -> list[str]:
        """See `Store.abandoned`."""
        return await self._read(reader.abandoned)

    async def delete(self, stream: str) -> None:
        """See `Store.delete`."""
        await self._do(stream, lambda tables: tables.delete(stream))

    @asynccontextmanager
    async def subscribe(self, stream: str, on_change: Callable[[], None]) -> AsyncIterator[None]:
        """See `Store.subscribe`."""
        check_stream(stream)
        writer = await self._opened()
        listeners = self._listeners.setdefault(stream, [])
        listeners.append(on_change)
        if not writer.is_watching:
            writer.is_watching = True
            writer.put(Request(stream, lambda tables: None))  # it looks, and from now on often
        try:
            yield
        finally:
            listeners.remove(on_change)
            if not listeners and self._listeners.get(stream) is listeners:
                del self._listeners[stream]
            writer.is_watching = bool(self._listeners)

    async def aclose(self) -> None:
        """End the threads and close the file, after all that was asked for before; for good."""
        self._is_closed = True
        writer = self._writer
        if writer is None:
            self._reader.close()
            return
        ended = asyncio.get_running_loop().create_future()
        with self._closing:
            if self._has_ended:
                ended.set_result(None)
            else:
                self._waiting_for_end.append(ended)
                writer.stop()
        await ended
        writer.join()

    # Writing

    def _start(self) -> Writer:
        """The writer, whose answers are for this event loop. StoreError if the store is closed."""
        if self._is_closed:
            raise StoreError(f"the store in {self._path} is closed")
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # of those who waited in another loop, nobody waits any more
            self._loop = loop
            self._slots = asyncio.Semaphore(_WAITING)
        if self._writer is None:
            self._writer = Writer(
                self._path,
                self.limits,
                self._synchronous,
                self._patience,
                self._take_answers,
                self._reader.close,
                self._end,
            )
            self._writer.start()
        return self._writer

    async def _do(self, stream: str, work: Callable[[Tables], Any]) -> Any:
        """Have the writer do it. It is done too if the caller is cancelled meanwhile."""
        check_stream(stream)
        writer = self._start()
        slots = self._slots
        await slots.acquire()
        if self._is_closed:
            slots.release()
            self._start()
        waiter = asyncio.get_running_loop().create_future()
        writer.put(Request(stream, work, waiter))
        value = await waiter
        self._is_open = True
        return value

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        await self._opened()
        return await self._reader.run(work)

    async def _opened(self) -> Writer:
        """The writer, once the file is open."""
        writer = self._start()
        if not self._is_open:
            await self._do("0" * 32, lambda tables: None)
            writer = self._start()  # it may have been closed meanwhile
        return writer

    def _take_answers(self, answers: list[Answer], news: News) -> None:
        """In the writer's thread: hand on what it says."""
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._hand_out, loop, answers, news)
            except RuntimeError:
                pass  # the loop is closed, and nobody waits

    def _hand_out(self, loop: asyncio.AbstractEventLoop, answers: list[Answer], news: News) -> None:
        for answer in answers:
            waiter = answer.request.waiter
            if waiter is None or waiter.get_loop() is not loop:
                continue
            self._slots.release()
            if waiter.done():
                continue  # cancelled
            if answer.error is None:
                waiter.set_result(answer.value)
            else:
                waiter.set_exception(answer.error)
        for stream in tuple(self._listeners) if news is None else news:
            for ring in tuple(self._listeners.get(stream, ())):
                ring()

    def _end(self) -> None:
        """In the writer's thread, as its last."""
        with self._closing:
            self._has_ended = True
            for ended in self._waiting_for_end:
                try:
                    ended.get_loop().call_soon_threadsafe(_finish, ended)
                except RuntimeError:
                    pass  # the loop is closed, and nobody waits


def _finish(ended: "asyncio.Future[None]") -> None:
    if not ended.done():
        ended.set_result(None)


def _checked(path: str | Path) -> Path:
    """The path, if a file may be there. Raises ValueError."""
    place = Path(path)
    if str(path) in ("", ".", ":memory:"):
        raise ValueError(f"a SQLite store needs a file, not {str(path)!r}")
    if place.is_dir():
        raise ValueError(f"{place} is a directory, and no file for a SQLite store")
    if not place.absolute().parent.is_dir():
        raise ValueError(f"the directory of {place} is not there")
    return place.absolute()
