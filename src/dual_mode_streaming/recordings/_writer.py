"""The writer of one stream: repeats failed appends, renews the lease, notices a cancellation."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Final

from dual_mode_streaming.running._tasks import end_tasks
from dual_mode_streaming.sse import EndState
from dual_mode_streaming.stores._base import AppendResult, Store, StoreError
from dual_mode_streaming.stores._outages import OutageLog

logger = logging.getLogger("dual_mode_streaming")

_CHANGE_DELAY: Final = 0.2
"""The time in seconds between a notification and the check of what has changed. The result of an
append in between makes the check unnecessary."""

_OWN_CHANGE: Final = 0.02
"""The time in seconds after an append in which a change is taken for that append."""

_RELEASE: Final = 1.0
"""The time in seconds in which a lease is ended at a shutdown."""

_RETRY_PAUSES: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class LeasedWriter:
    """Appends to one stream in one generation.

    In its context (`async with`) it renews the lease. It works without the store's notifications,
    but with them it notices a cancellation sooner.

    Args:
        store: the store of the stream.
        stream: the id of the stream.
        generation: the generation of the writer.
        head: the sequence of the last entry in the store.
        on_result: called with the result of each append that renewed the lease.

    Attributes:
        head: the sequence of the last entry that the store has acknowledged.
    """

    def __init__(
        self,
        store: Store,
        stream: str,
        generation: int,
        head: int,
        on_result: Callable[[AppendResult], None],
    ) -> None:
        self.head = head
        self._store = store
        self._stream = stream
        self._generation = generation
        self._on_result = on_result
        self._writing = asyncio.Lock()
        self._wrote_at = 0.0
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        self._wrote_at = loop.time()
        self._tasks = [loop.create_task(self._subscribe()), loop.create_task(self._renew_lease())]

    async def __aexit__(self, *exc_info: object) -> None:
        await end_tasks(*self._tasks)

    async def append(
        self, payloads: Sequence[bytes], *, end: EndState | None = None
    ) -> AppendResult:
        """Append entries, and repeat that while the store cannot be reached.

        Args:
            payloads: the entries. If there are none, only the lease is renewed.
            end: the state in which the stream ends with the last of these entries.

        Raises:
            StoreError: the store could not be reached for so long that another writer may have
                taken the stream over.
        """
        loop = asyncio.get_running_loop()
        failing_since: float | None = None  # the loop may have been busy before
        async with self._writing:
            for attempt in count():
                try:
                    result = await self._store.append(
                        self._stream, self._generation, self.head + 1, payloads, end=end
                    )
                    break
                except StoreError:
                    failing_since = failing_since or loop.time()
                    if loop.time() - failing_since > 2 * self._store.limits.lease:
                        raise
                    await asyncio.sleep(_RETRY_PAUSES[min(attempt, len(_RETRY_PAUSES) - 1)])
            self._wrote_at = loop.time()
            if result in (AppendResult.OK, AppendResult.CANCEL):
                self.head += len(payloads)
            return result

    async def release(self) -> None:
        """End the lease, so that another writer can go on at once, if the store can do that."""
        for task in self._tasks:
            task.cancel()  # or it would be renewed
        if (release := getattr(self._store, "release", None)) is not None:
            try:
                async with asyncio.timeout(_RELEASE), self._writing:
                    await release(self._stream, self._generation)
            except Exception as error:  # the store may be a user's
                logger.warning("the lease of %s ends by itself: %s", self._stream, error)

    async def _subscribe(self) -> None:
        """Subscribe to changes of the stream, again whenever the store fails."""
        while True:
            try:
                async with self._store.subscribe(self._stream, self._on_change):
                    await asyncio.Event().wait()
            except StoreError as error:
                logger.info("no notifications of the stream %s: %s", self._stream, error)
                await asyncio.sleep(_RETRY_PAUSES[-1])

    def _on_change(self) -> None:
        """Note a change, unless it comes from an append of this writer."""
        since = asyncio.get_running_loop().time() - self._wrote_at
        if since > _OWN_CHANGE and not self._writing.locked():
            self._changed.set()

    async def _renew_lease(self) -> None:
        """Append nothing whenever a third of the lease is over, or after a change.

        That renews the lease, and its result says whether the producer must stop.
        """
        loop = asyncio.get_running_loop()
        pause = self._store.limits.lease / 3
        outage = OutageLog(f"the lease of {self._stream} cannot be renewed")
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._wrote_at + pause):
                    await self._changed.wait()
                    await asyncio.sleep(_CHANGE_DELAY)
            since = loop.time() - self._wrote_at
            has_changed = self._changed.is_set()
            self._changed.clear()
            if since < (_CHANGE_DELAY / 2 if has_changed else pause * 0.99):
                continue  # an append has done both
            try:
                self._on_result(await self.append(()))
                outage.worked()
            except Exception as error:
                outage.failed(error)
                await asyncio.sleep(pause)
