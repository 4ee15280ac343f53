"""Streams in a SQLite file. They survive the process, and processes of one machine can share them.

The clock of leases is `time.monotonic`, which the processes of a machine share and nobody can set;
that of everything else is the machine's wall clock. One thread writes, and commits together
what waits for it: a hundred producers need one flush of the disk, not a hundred. A few other
threads read. Beside the file are its write-ahead log (`-wal`, `-shm`) and a lock (`-lock`).
"""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

from dual_mode_streaming.errors import StoreError
from dual_mode_streaming.sse import EndState
from dual_mode_streaming.stores import _sqlite_reader as reader
from dual_mode_streaming.stores._base import (
    AppendResult,
    Entry,
    Limits,
    NewStream,
    OnChange,
    Published,
    StreamInfo,
    check_stream,
)
from dual_mode_streaming.stores._sqlite_file import Synchronous
from dual_mode_streaming.stores._sqlite_publish import AllTables
from dual_mode_streaming.stores._sqlite_writer import WriteRequest, WriterThread

T = TypeVar("T")

logger = logging.getLogger("dual_mode_streaming")

_CLOSING: Final = 3.0  # seconds in which the thread that writes should end
_QUEUE: Final = 1024  # requests in the queue of the writer; more of them wait


class SQLiteStore:
    """A store in a SQLite file, which is opened, and created if necessary, on first use.

    Whoever creates the store closes it with `aclose`.

    Args:
        path: the file. Its directory must exist.
        limits: the limits of the store.
        synchronous: when SQLite waits for the disk. All entries survive the end of the process.
            With "FULL" an acknowledged entry also survives a power cut, if the disk honours
            flushes; with "NORMAL" the last entries may be lost then; with "OFF" the whole file.
        timeout: the seconds to wait while another process locks the file; then the call raises
            StoreError.

    Raises:
        ValueError: if there cannot be a file at `path`, or SQLite is older than 3.33.
    """

    shared = True

    def __init__(
        self,
        path: str | Path,
        limits: Limits | None = None,
        *,
        synchronous: Synchronous = "FULL",
        timeout: float = 5.0,
    ) -> None:
        if sqlite3.sqlite_version_info < (3, 33):
            raise ValueError(f"SQLite 3.33 or newer is needed, not {sqlite3.sqlite_version}")
        if synchronous not in get_args(Synchronous):
            raise ValueError(f"synchronous must be OFF, NORMAL or FULL, not {synchronous!r}")
        self._path = _checked(path)
        self.limits = limits or Limits()
        self._synchronous: Synchronous = synchronous
        self._timeout = timeout
        self._writer: WriterThread | None = None
        self._reader = reader.ReaderPool(self._path, timeout)
        self._is_open = False
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots = asyncio.Semaphore(_QUEUE)
        self._subscribers: dict[str, list[OnChange]] = {}

    async def check(self) -> None:
        """Open the file. Raises StoreError if it cannot be used."""
        await self._opened()

    async def create(
        self, new: NewStream, idempotency_key: str | None = None, *, replaces: str | None = None
    ) -> str:
        """See `Store.create`."""
        stream: str = await self._write(
            lambda tables: tables.create(new, idempotency_key, replaces)
        )
        return stream

    async def find(self, idempotency_key: str) -> str | None:
        """See `Store.find`."""
        retention = self.limits.retention
        return await self._read(
            lambda connection: reader.find(connection, idempotency_key, retention)
        )

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
        check_stream(stream)
        fixed = tuple(payloads)
        result: AppendResult = await self._write(
            lambda tables: tables.append(stream, generation, first, fixed, end)
        )
        return result

    async def publish(
        self,
        stream: str,
        payloads: Sequence[bytes],
        *,
        end: EndState | None = None,
        marks: Mapping[str, tuple[str | None, str]] | None = None,
        lifetime: float | None = None,
        entries: int | None = None,
        size: int | None = None,
    ) -> Published:
        """See `Store.publish`."""
        check_stream(stream)
        fixed, noted = tuple(payloads), dict(marks or {})
        result: Published = await self._write(
            lambda tables: tables.publish(stream, fixed, end, noted, lifetime, entries, size)
        )
        return result

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
        check_stream(stream)
        await self._write(lambda tables: tables.cancel(stream))

    async def take_over(self, stream: str) -> int | None:
        """See `Store.take_over`."""
        check_stream(stream)
        generation: int | None = await self._write(lambda tables: tables.take_over(stream))
        return generation

    async def abandoned(self) -> list[str]:
        """See `Store.abandoned`."""
        return await self._read(reader.abandoned)

    async def delete(self, stream: str) -> None:
        """See `Store.delete`."""
        check_stream(stream)
        await self._write(lambda tables: tables.delete(stream))

    @asynccontextmanager
    async def subscribe(self, stream: str, on_change: OnChange) -> AsyncIterator[None]:
        """See `Store.subscribe`."""
        check_stream(stream)
        writer = await self._opened()
        subscribers = self._subscribers.setdefault(stream, [])
        subscribers.append(on_change)
        if not writer.is_watching:
            writer.is_watching = True
            writer.put(WriteRequest(_nothing))  # wakes it, so that it looks often
        try:
            yield
        finally:
            subscribers.remove(on_change)
            if not subscribers and self._subscribers.get(stream) is subscribers:
                del self._subscribers[stream]
            writer.is_watching = bool(self._subscribers)

    def renew(self, writers: Mapping[str, int]) -> None:
        """See `Store`."""
        if self._writer is not None:
            fixed = dict(writers)
            self._writer.put(WriteRequest(lambda tables: tables.renew(fixed)))

    async def release(self, stream: str, generation: int) -> None:
        """See `Store`."""
        await self._write(lambda tables: tables.release(stream, generation))

    async def aclose(self) -> None:
        """Do what was asked for before, then close the file and end the threads."""
        self._is_closed = True
        if self._writer is None:
            self._reader.close()
            return
        self._writer.stop()
        ended, _ = await asyncio.wait({asyncio.wrap_future(self._writer.ended)}, timeout=_CLOSING)
        if ended:
            self._writer.join()
        else:  # the thread ends by itself, at the latest with the process
            logger.error("%s is locked by another process, and is closed later", self._path)

    def reopen(self) -> None:
        """Let the store be used again after `aclose`."""
        if self._is_closed:
            self._writer = None
            self._reader = reader.ReaderPool(self._path, self._timeout)
            self._is_open = self._is_closed = False

    def _start(self) -> WriterThread:
        """Return the writer, which delivers to this event loop from now on.

        Raises:
            StoreError: if the store is closed.
        """
        if self._is_closed:
            raise StoreError(f"the store in {self._path} is closed")
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # in another loop nobody waits any more
            self._loop = loop
            self._slots = asyncio.Semaphore(_QUEUE)
        if self._writer is None:
            self._writer = WriterThread(
                self._path,
                self.limits,
                self._synchronous,
                self._timeout,
                self._deliver,
                self._reader.close,
            )
            self._writer.start()
        return self._writer

    async def _write(self, work: Callable[[AllTables], Any]) -> Any:
        """Have the writer do some work. It is done even if the caller is cancelled."""
        writer = self._start()
        slots = self._slots
        await slots.acquire()
        if self._is_closed:
            slots.release()
            self._start()
        waiter = asyncio.get_running_loop().create_future()
        writer.put(WriteRequest(work, waiter))
        value = await waiter
        self._is_open = True
        return value

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        await self._opened()
        return await self._reader.run(work)

    async def _opened(self) -> WriterThread:
        """Return the writer, after it has opened the file."""
        writer = self._start()
        if not self._is_open:
            await self._write(_nothing)
            writer = self._start()  # the store may have been closed meanwhile
        return writer

    def _deliver(self, requests: list[WriteRequest], changed: set[str] | None) -> None:
        """Pass on, from the writer's thread, what is done and what has changed."""
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._receive, loop, requests, changed)
            except RuntimeError:
                pass  # the loop is closed, and nobody waits

    def _receive(
        self,
        loop: asyncio.AbstractEventLoop,
        requests: list[WriteRequest],
        changed: set[str] | None,
    ) -> None:
        for request in requests:
            waiter = request.waiter
            if waiter is None or waiter.get_loop() is not loop:
                continue
            self._slots.release()
            if waiter.done():
                continue  # cancelled
            if request.error is None:
                waiter.set_result(request.value)
            else:
                waiter.set_exception(request.error)
        for stream in tuple(self._subscribers) if changed is None else changed:
            for on_change in tuple(self._subscribers.get(stream, ())):
                on_change()


def _nothing(tables: AllTables) -> None:
    """No work: the writer only opens the file and looks for changes."""


def _checked(path: str | Path) -> Path:
    """Return the path if there can be a file. Raises ValueError."""
    file = Path(path)
    if str(path) in ("", ".", ":memory:"):
        raise ValueError(f"a SQLite store needs a file, not {str(path)!r}")
    if file.is_dir():
        raise ValueError(f"{file} is a directory; a SQLite store needs a file")
    if not file.absolute().parent.is_dir():
        raise ValueError(f"the directory of {file} does not exist")
    return file.absolute()
