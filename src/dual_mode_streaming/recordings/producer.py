"""Runs one generator into a store, whether or not anybody reads: the writer of a recorded stream.

It writes what is ready whenever the generator waits, and at the latest when a bound is reached; a
slow store so pauses the generator. Between the writes it keeps its lease, and hears of a request to
stop.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

from dual_mode_streaming.errors import SourceCancelled
from dual_mode_streaming.owner import End, Owner, drive
from dual_mode_streaming.recordings.records import Record
from dual_mode_streaming.stores.base import State, Store, StoreError, Verdict
from dual_mode_streaming.streams.scope import turn

__all__ = ["Producer"]

logger = logging.getLogger("dual_mode_streaming")

FLUSH_BYTES: Final = 64 * 1024
FLUSH_RECORDS: Final = 256

_NEWS_DELAY: Final = 0.2
"""So long after news of the stream it asks whether it is to stop, if no append has told by then."""

_RETRY_PAUSES: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class Producer:
    """The writer of one stream, from sequence `head` + 1 on.

    Args:
        source: the items; closed by the producer, in the task that reads them.
        record_of: the record of an item; None for what is not recorded.
        problem_of: what readers are told of an exception, as JSON.
        cleanup_timeout: as for a response, see `Options`.
        resumes: another writer can go on where this one stops, so a shutdown is no end.
        max_duration: the seconds after which it is ended with an error; None for never.
    """

    def __init__(
        self,
        store: Store,
        stream: str,
        source: AsyncIterator[Any],
        *,
        record_of: Callable[[Any], Record | None],
        problem_of: Callable[[BaseException], dict[str, Any]],
        generation: int = 1,
        head: int = 0,
        cleanup_timeout: float = 5.0,
        resumes: bool = False,
        max_duration: float | None = None,
    ) -> None:
        self.stream = stream
        self._store = store
        self._source = source
        self._record_of = record_of
        self._problem_of = problem_of
        self._generation = generation
        self._head = head  # of what the store has
        self._owner = Owner(cleanup_timeout)
        self._resumes = resumes
        self._max_duration = max_duration
        self._batch: list[bytes] = []
        self._size = 0
        self._writing = asyncio.Lock()
        self._wrote_at = 0.0
        self._news: asyncio.TimerHandle | None = None
        self._asking: set[asyncio.Task[None]] = set()

    def stop(self, end: End) -> None:
        """Ask it to end; returns at once."""
        self._owner.stop(end)

    async def run(self) -> None:
        """Run the generator to its end, which the stream then has, too. Raises nothing."""
        loop = asyncio.get_running_loop()
        cut = self._max_duration and loop.call_later(self._max_duration, self.stop, End.TOO_LONG)
        keeping = loop.create_task(self._keep_the_lease())
        try:
            async with self._store.listening(self.stream, self._ring):
                await self._owner.run(self._produce())
        except Exception:
            logger.exception("the recording %s was left unfinished", self.stream)
        finally:
            if cut:
                cut.cancel()
            if self._news is not None:
                self._news.cancel()
            for task in (keeping, *self._asking):
                task.cancel()
                await asyncio.wait({task})

    async def _produce(self) -> None:
        error: BaseException | None = None
        try:
            try:
                await drive(self._pump(), self._on_wait)
            finally:
                if (close := getattr(self._source, "aclose", None)) is not None:
                    await close()
        except asyncio.CancelledError as cancelled:
            error = cancelled
        except Exception as raised:
            error = raised
        await self._conclude(error)

    async def _pump(self) -> None:
        async for item in self._source:
            record = self._record_of(item)
            if record is not None:
                payload = record.pack()
                self._batch.append(payload)
                self._size += len(payload)
                if len(self._batch) >= FLUSH_RECORDS or self._size >= FLUSH_BYTES:
                    await self._flush()
                    await turn()  # a store that never waits holds up nobody
            if self._owner.end is not None:
                raise asyncio.CancelledError

    def _on_wait(self) -> Awaitable[None] | None:
        """The generator waits: what it has made is written meanwhile."""
        return self._flush() if self._batch and not self._writing.locked() else None

    async def _flush(self) -> None:
        batch, self._batch, self._size = self._batch, [], 0
        verdict = await self._append(batch)
        if verdict is Verdict.GAP:
            raise StoreError("the store has lost the end of the stream")
        self._heed(verdict)

    async def _conclude(self, error: BaseException | None) -> None:
        """Write the end, unless somebody else will."""
        end = self._owner.end
        if end is End.SUPERSEDED or (end is End.DRAINING and self._resumes):
            return
        state: State
        told: dict[str, Any]
        if end is End.STOPPED:
            state, told = "cancelled", {}
        elif end is End.DRAINING:
            state, told = "interrupted", {"reason": "shutdown"}
        elif end is End.TOO_LONG:
            state, told = "error", {"type": "about:blank", "status": 504, "title": end.value}
        elif error is None:
            state, told = "done", {}
        else:
            if isinstance(error, asyncio.CancelledError):
                error = SourceCancelled()
            state, told = "error", self._problem_of(error)
            accident = told.get("status") == 500
            logger.error(
                "the recording %s failed: %s",
                self.stream,
                told.get("detail"),
                exc_info=error if accident else None,
            )
        items = self._head + len(self._batch)
        last = Record.end(state, {**told, "items": items})
        await self._append([*self._batch, last.pack()], end=state)

    async def _append(self, payloads: Sequence[bytes], *, end: State | None = None) -> Verdict:
        """Write, and try again while the store is out of reach: that is safe for it to see twice.

        Raises StoreError if it stays so for as long as another might have taken the stream over.
        """
        loop = asyncio.get_running_loop()
        since = loop.time()
        async with self._writing:
            for attempt in range(1_000):
                try:
                    verdict = await self._store.append(
                        self.stream, self._generation, self._head + 1, payloads, end=end
                    )
                except StoreError:
                    if loop.time() - since > 2 * self._store.limits.lease:
                        raise
                    await asyncio.sleep(_RETRY_PAUSES[min(attempt, len(_RETRY_PAUSES) - 1)])
                else:
                    break
            self._wrote_at = loop.time()
            if verdict in (Verdict.OK, Verdict.CANCEL):
                self._head += len(payloads)
            return verdict

    def _heed(self, verdict: Verdict) -> None:
        if verdict is Verdict.CANCEL:
            self.stop(End.STOPPED)
        elif verdict in (Verdict.FENCED, Verdict.CLOSED):
            self.stop(End.SUPERSEDED)

    async def _keep_the_lease(self) -> None:
        """Write nothing, in time, when there is nothing to write."""
        pause = self._store.limits.lease / 3
        while True:
            await asyncio.sleep(pause)
            if not self._writing.locked():
                try:
                    self._heed(await self._append(()))
                except StoreError as error:
                    logger.warning("the lease of %s could not be kept: %s", self.stream, error)

    def _ring(self) -> None:
        """There may be news of the stream: others' only, as a rule, since we know our own."""
        if self._news is None and not self._asking:
            loop = asyncio.get_running_loop()
            self._news = loop.call_later(_NEWS_DELAY, self._ask, loop.time())

    def _ask(self, rang_at: float) -> None:
        self._news = None
        if self._wrote_at < rang_at + _NEWS_DELAY / 2 and self._owner.end is None:
            task = asyncio.get_running_loop().create_task(self._look())
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _look(self) -> None:
        try:
            info = await self._store.info(self.stream)
        except StoreError:
            return  # the next append tells
        if info is None or info.state != "running" or info.generation != self._generation:
            self.stop(End.SUPERSEDED)
        elif info.cancelling:
            self.stop(End.STOPPED)
