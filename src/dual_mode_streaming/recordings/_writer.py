"""Writes one stream into a store: tries again, keeps the lease, hears of a request to stop."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Final

from dual_mode_streaming.sse import EndState
from dual_mode_streaming.stores._base import AppendResult, Store, StoreError

__all__ = ["Writer"]

logger = logging.getLogger("dual_mode_streaming")

_NEWS_DELAY: Final = 0.2
"""So long after news of the stream it asks whether it is to stop, if no append has told by then."""

_OUR_OWN: Final = 0.02
"""News that come so soon after a write are of that write."""

_RETRY_PAUSES: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class Writer:
    """The writer of a stream, of a generation, after `head`: the last entry that the store has.

    While it is entered (`async with`), it keeps the lease, and gives to `heed` the verdicts that
    come with that. It needs no bell of the store for it, but hears sooner with one.
    """

    def __init__(
        self,
        store: Store,
        stream: str,
        generation: int,
        head: int,
        heed: Callable[[AppendResult], None],
    ) -> None:
        self.head = head
        self._store = store
        self._stream = stream
        self._generation = generation
        self._heed = heed
        self._writing = asyncio.Lock()
        self._wrote_at = 0.0
        self._bell = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        self._wrote_at = loop.time()
        self._tasks = [loop.create_task(self._listen()), loop.create_task(self._keep_in_touch())]

    async def __aexit__(self, *exc_info: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def append(
        self, payloads: Sequence[bytes], *, end: EndState | None = None
    ) -> AppendResult:
        """Write, and try again while the store is out of reach: that is safe for it to see twice.

        Raises StoreError if it stays so for as long as another might have taken the stream over.
        """
        loop = asyncio.get_running_loop()
        since = loop.time()
        async with self._writing:
            for attempt in count():
                try:
                    verdict = await self._store.append(
                        self._stream, self._generation, self.head + 1, payloads, end=end
                    )
                    break
                except StoreError:
                    if loop.time() - since > 2 * self._store.limits.lease:
                        raise
                    await asyncio.sleep(_RETRY_PAUSES[min(attempt, len(_RETRY_PAUSES) - 1)])
            self._wrote_at = loop.time()
            if verdict in (AppendResult.OK, AppendResult.CANCEL):
                self.head += len(payloads)
            return verdict

    async def _listen(self) -> None:
        """Have the bell rung by the store: without it, all is heard when the lease is renewed."""
        while True:
            try:
                async with self._store.subscribe(self._stream, self._ring):
                    await asyncio.Event().wait()
            except StoreError as error:
                logger.info("no news of %s: %s", self._stream, error)
                await asyncio.sleep(_RETRY_PAUSES[-1])

    def _ring(self) -> None:
        """There is news of the stream, and none of our own: a write tells its verdict by itself."""
        since = asyncio.get_running_loop().time() - self._wrote_at
        if since > _OUR_OWN and not self._writing.locked():
            self._bell.set()

    async def _keep_in_touch(self) -> None:
        """Write nothing, in time, when there is nothing to write: that keeps the lease, and tells
        of a request to stop."""
        loop = asyncio.get_running_loop()
        pause = self._store.limits.lease / 3
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._wrote_at + pause):
                    await self._bell.wait()
                    await asyncio.sleep(_NEWS_DELAY)
            written = loop.time() - self._wrote_at
            rung = self._bell.is_set()
            self._bell.clear()
            if written < (_NEWS_DELAY / 2 if rung else pause * 0.99):
                continue  # which has told, and has renewed the lease
            try:
                self._heed(await self.append(()))
            except Exception as error:
                logger.warning("the lease of %s could not be kept: %s", self._stream, error)
                await asyncio.sleep(pause)
