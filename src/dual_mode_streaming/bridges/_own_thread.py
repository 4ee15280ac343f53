"""Threads for plain iterators: each has a new one to itself, up to a limit for the process.

Threads are not shared: what a generator keeps in a `threading.local`, an RLock that it holds, its
database connection would be those of another generator, too. A generator that waits for another
one, by a lock or a request, would wait for ever if both had one thread.
"""

import asyncio
import atexit
import contextlib
import itertools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError
from queue import SimpleQueue
from typing import Any, TypeVar

from dual_mode_streaming.errors import Problem

logger = logging.getLogger("dual_mode_streaming")

T = TypeVar("T")
Loop = asyncio.AbstractEventLoop

_numbers = itertools.count(1)

LIMIT = 1000
"""The most threads by default. One that waits takes about 20 kB of memory, and its generator's."""

WAIT = 20.0
"""The longest time, in seconds, that an iterator waits for a thread by default."""

_AT_EXIT = 2.0
"""The longest time, in seconds, for which the exit of the interpreter waits for running closes."""


def limit_threads(threads: int = LIMIT, *, wait: float = WAIT) -> None:
    """Set how many plain iterators may be open at the same time, in the whole process.

    Each open iterator of `from_sync`, and so each plain generator of an endpoint, has a thread of
    its own. Further ones wait until a thread is free, in the order of their requests.

    Args:
        threads: the most threads.
        wait: the time in seconds after which one that waits is refused, with a Problem of 503.

    Raises:
        ValueError: `threads` is below 1, or `wait` is negative.
    """
    if threads < 1 or wait < 0:
        raise ValueError(
            f"threads must be at least 1 and wait at least 0, not {threads} and {wait}"
        )
    _slots.limit, _slots.wait = threads, wait


class OwnThread(threading.Thread):
    """Runs the jobs of one iterator, one after the other, until `end` is called.

    It is a daemon thread: a `next()` that never returns does not keep the process alive.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name=f"from_sync-{next(_numbers)}", daemon=True)
        self._loop = loop
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.submit = self._jobs.put
        self.closing = False
        self._interrupt: Callable[[], object] | None = None

    def close_soon(self) -> None:
        """Note that the iterator is to be closed, and end a `wait_for` of the running job."""
        self.closing = True
        if (interrupt := self._interrupt) is not None:
            interrupt()

    def wait_for(self, call: Callable[[], Coroutine[Any, Any, T]], loop: Loop) -> T:
        """Run a coroutine in an event loop, in this thread's job, and wait for its result.

        Raises:
            GeneratorExit: the iterator is to be closed meanwhile.
        """
        tasks: list[asyncio.Task[Any] | None] = []

        async def work() -> T:
            tasks.append(asyncio.current_task())
            if self.closing:
                raise asyncio.CancelledError
            return await call()

        def cancel() -> None:
            for task in filter(None, tasks):
                task.cancel()

        self._interrupt = lambda: loop.call_soon_threadsafe(cancel)
        try:
            return asyncio.run_coroutine_threadsafe(work(), loop).result()
        except CancelledError:
            if self.closing:
                raise GeneratorExit from None
            raise
        finally:
            self._interrupt = None

    def end(self) -> None:
        """End the thread after the job that runs. A call from a job, too, has an effect."""
        self._jobs.put(None)

    def run(self) -> None:
        # As in the threads of Starlette, whose code calls `anyio.from_thread.run`.
        from anyio._backends._asyncio import AsyncIOBackend
        from anyio._core._eventloop import claim_worker_thread

        try:
            with claim_worker_thread(AsyncIOBackend, self._loop):
                while (job := self._jobs.get()) is not None:
                    job()
                    del job  # it holds the iterator
        finally:
            _slots.release(self)


class _Slots:
    """Counts the threads, and keeps those in a queue who wait for one."""

    def __init__(self) -> None:
        self.limit, self.wait = LIMIT, WAIT
        self.threads: set[OwnThread] = set()
        self._used = 0
        self._lock = threading.Lock()
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        self._warn_after = 0.0

    async def acquire(self) -> OwnThread:
        loop = asyncio.get_running_loop()
        with self._lock:
            if at_once := self._used < self.limit and not self._waiting:
                self._used += 1
            else:
                free = loop.create_future()
                self._waiting.append((loop, free))
        if not at_once:
            await self._until_free((loop, free))
        thread = OwnThread(loop)
        self.threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:
            self.release(thread)
            logger.error("no thread can be started for a plain generator: %s", error)
            raise self._refusal("the system starts no further thread") from error
        return thread

    async def _until_free(
        self, entry: "tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]"
    ) -> None:
        if time.monotonic() > self._warn_after:
            self._warn_after = time.monotonic() + self.wait
            logger.warning(
                "all %d threads of plain generators are in use: others wait, up to %g s",
                self.limit,
                self.wait,
            )
        free = entry[1]
        try:
            async with asyncio.timeout(self.wait):
                await free
        except BaseException as error:
            with self._lock, contextlib.suppress(ValueError):
                self._waiting.remove(entry)
            if not free.cancelled():  # a thread became free in the same moment
                self.release(None)
            if isinstance(error, TimeoutError):
                raise self._refusal(f"all {self.limit} threads are in use") from error
            raise

    @staticmethod
    def _refusal(why: str) -> Problem:
        return Problem(503, f"no thread is free for a plain generator: {why}", retry_after=1)

    def release(self, thread: OwnThread | None) -> None:
        """Pass the place of a thread on to the first that waits. Call it in any thread."""
        if thread is not None:
            self.threads.discard(thread)
        with self._lock:
            while self._waiting and self._used <= self.limit:
                loop, free = self._waiting.popleft()
                try:
                    loop.call_soon_threadsafe(self._grant, free)
                except RuntimeError:  # that loop is closed
                    continue
                return
            self._used -= 1

    def _grant(self, free: "asyncio.Future[None]") -> None:
        if free.done():
            self.release(None)
        else:
            free.set_result(None)


_slots = _Slots()


def acquire() -> Awaitable[OwnThread]:
    """Start a thread for an iterator, or wait until one may be started.

    Raises:
        Problem: 503 if none was free in time.
    """
    return _slots.acquire()


def in_use() -> str:
    """Return how many of the threads are in use, for a log line."""
    return f"{len(_slots.threads)} of {_slots.limit} threads are in use"


def _reset() -> None:
    """Forget the threads in a forked child, which has no copy of them."""
    global _slots
    limit, wait = _slots.limit, _slots.wait
    _slots = _Slots()
    _slots.limit, _slots.wait = limit, wait


def _at_exit() -> None:
    """Wait a little for the iterators that are being closed: daemon threads are not waited for."""
    ends = time.monotonic() + _AT_EXIT
    for thread in [thread for thread in _slots.threads if thread.closing]:
        thread.join(max(0.0, ends - time.monotonic()))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset)
atexit.register(_at_exit)
