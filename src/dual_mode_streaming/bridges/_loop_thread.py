"""An event loop in a thread of its own, for code that has none; one of them for the process."""

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["LoopThread", "shared_loop"]

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for threads that have no event loop, or must not block the one they have.

    Its thread starts with the first use, and ends with `close` or `with`: what still runs then is
    cancelled, and waited for. It is a daemon: a process does not wait for it at its end.
    """

    def __init__(self, name: str = "loop-thread") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, running. Of its methods only `call_soon_threadsafe` is for other threads."""
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

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there, in the caller's context, and wait for what it gives or raises.

        A KeyboardInterrupt of the caller cancels it, waits for its cleanup, and is raised.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("the loop's own thread cannot wait for it: use await")
        started: list[asyncio.Task[T]] = []
        done = threading.Event()

        def start() -> None:
            started.append(task := asyncio.get_running_loop().create_task(coroutine))
            task.add_done_callback(lambda _: done.set())

        self.call(start)
        try:
            done.wait()
        except BaseException:  # a KeyboardInterrupt of this thread
            self.call(lambda: started[0].cancel())
            done.wait()
            if not started[0].cancelled():
                started[0].exception()  # seen; the interrupt says more
            raise
        return started[0].result()

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Have a function called there soon, in the caller's context."""
        self.loop.call_soon_threadsafe(function, *args)

    def close(self) -> None:
        """Cancel what runs there, wait for it, end the thread. The next use starts a new one."""
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
    """The process's own loop thread, which stays.

    For what is cached and bound to its loop, as async HTTP clients are: a client that was made, or
    first used, in one loop fails in the next.
    """
    return _shared


def _forget_thread() -> None:
    """A fork takes no threads along: the child starts its own."""
    global _shared
    _shared = LoopThread("shared-loop-thread")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_thread)
atexit.register(lambda: _shared.close())
