"""An event loop in a thread of its own, and one such thread shared by the process."""

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for threads that have no event loop, or that must not block theirs.

    The thread starts at the first use and ends with `close`, or at the end of a `with` block. It is
    a daemon thread: the process does not wait for it at exit.

    Args:
        name: the name of the thread.
    """

    def __init__(self, name: str = "loop-thread") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The running loop. Other threads may only call its `call_soon_threadsafe`."""
        with self._lock:
            if self._loop is None:
                started = threading.Event()
                self._thread = threading.Thread(
                    target=self._run, args=(started,), name=self._name, daemon=True
                )
                self._thread.start()
                started.wait()
            assert self._loop is not None
            return self._loop

    @property
    def is_running(self) -> bool:
        """Whether the thread was started, and not closed since."""
        return self._thread is not None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop, in a copy of the caller's context, and wait for it.

        A KeyboardInterrupt of the caller cancels the coroutine once, waits for its cleanup, and is
        then raised.

        Returns:
            the result of the coroutine.

        Raises:
            RuntimeError: it was called in the loop's own thread, which cannot wait for itself.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("run() was called in the loop's own thread: use await there")
        started: list[asyncio.Task[T]] = []
        done = threading.Event()

        def start() -> None:
            started.append(task := asyncio.get_running_loop().create_task(coroutine))
            task.add_done_callback(lambda _: done.set())

        self.call(start)
        try:
            done.wait()
        except BaseException:  # a KeyboardInterrupt in this thread
            self.call(lambda: started[0].cancel())
            done.wait()
            if not started[0].cancelled():
                started[0].exception()  # retrieved, so that asyncio does not log it
            raise
        return started[0].result()

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Schedule a function call in the loop, in a copy of the caller's context."""
        self.loop.call_soon_threadsafe(function, *args)

    def close(self) -> None:
        """Cancel the tasks, wait for them and join the thread. A later use starts a new one."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def __enter__(self) -> "LoopThread":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _run(self, started: threading.Event) -> None:
        with asyncio.Runner() as runner:
            self._loop = loop = runner.get_loop()
            loop.call_soon(started.set)
            loop.run_forever()


_shared = LoopThread("shared-loop-thread")


def shared_loop() -> LoopThread:
    """Return the loop thread of the process, which stays open.

    Use it for cached objects that are bound to a loop, such as async HTTP clients: a client that
    was first used in one loop fails in another.
    """
    return _shared


def _replace_shared() -> None:
    """Start again in a forked child, which has no copy of the thread."""
    global _shared
    _shared = LoopThread("shared-loop-thread")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_replace_shared)
atexit.register(lambda: _shared.close())
