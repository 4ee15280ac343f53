"""Keeps the leases of a process while its event loop is busy, and cannot renew them itself.

A busy loop does not say that its streams are lost: it goes on with them. A thread renews their
leases until then. It needs Python's global lock now and then, as every thread does.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from dual_mode_streaming.stores._base import Store

logger = logging.getLogger("dual_mode_streaming")

_LONGEST: Final = 60.0
"""The time in seconds for which a loop may be busy. Then others may take its streams over."""

Writers = Mapping[str, int]
"""The generation of the writer, for each stream that is written in this process."""


class LeaseKeeper:
    """Renews leases from a thread while the event loop does not answer.

    Args:
        store: the store. One without a method `renew` has no leases to lose.
        writers: returns the streams of this process. It is called in the thread.
    """

    def __init__(self, store: Store, writers: Callable[[], Writers]) -> None:
        self._renew = getattr(store, "renew", None) if store.shared else None
        self._pause = store.limits.lease / 5
        self._writers = writers
        self._answered = True
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, unless it runs. Call it in the event loop."""
        if self._thread is None and self._renew is not None:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(
                target=self._run, args=(loop, self._renew), name="lease keeper", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """End the thread soon. It does not wait for it."""
        self._stopped.set()

    def _run(self, loop: asyncio.AbstractEventLoop, renew: Callable[[Writers], None]) -> None:
        busy_since = time.monotonic()
        while not self._stopped.wait(self._pause):
            if self._answered:
                self._answered, busy_since = False, time.monotonic()
                try:
                    loop.call_soon_threadsafe(self._answer)
                except RuntimeError:  # the loop is closed
                    return
            elif time.monotonic() - busy_since < _LONGEST and (writers := self._writers()):
                try:
                    renew(writers)
                except Exception as error:
                    logger.warning("the leases of a busy process are not renewed: %s", error)

    def _answer(self) -> None:
        self._answered = True
