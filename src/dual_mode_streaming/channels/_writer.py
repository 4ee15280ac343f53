"""The one writer of a channel: a job whose watchers are told of its end, also if it is killed."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Generic, TypeVar

from dual_mode_streaming.channels._log import ChannelClosed, ChannelLog
from dual_mode_streaming.errors import Problem, StoreError
from dual_mode_streaming.recordings import Cursor, LeasedWriter, StreamRecord
from dual_mode_streaming.sse import EndState
from dual_mode_streaming.stores import AppendResult, StreamInfo

T = TypeVar("T")

logger = logging.getLogger("dual_mode_streaming")


class ChannelWriter(Generic[T]):
    """Writes a channel alone, in an `async with` block, whose end is the end of the channel.

    A block that ends well ends the channel as `done`, a Problem as that error, another Exception as
    a 500, and what stops a program, such as a SystemExit, as `interrupted`. The process holds a
    lease meanwhile: if it dies, watchers get `interrupted` within two leases. A block that ends
    well, but cannot end the channel, raises what `write` would.

    Attributes:
        written: how many messages the store has acknowledged: above 0 at the start if an earlier
            writer was killed, and this one continues.
        cursor: the cursor of the last of them; "" before the first.
    """

    def __init__(
        self, log: Callable[[], ChannelLog], record: Callable[[Any], StreamRecord]
    ) -> None:
        self.cursor = ""
        self._log = log
        self._record = record
        self._stack = AsyncExitStack()
        self._writer: LeasedWriter | None = None
        self._generation = 0
        self._lost: Exception | None = None  # why nothing more can be written
        self._turn = asyncio.Lock()
        self._unsure: list[bytes] = []  # given to the store, and not acknowledged

    @property
    def written(self) -> int:
        return self._open.head

    async def write(self, *items: T) -> str:
        """Write messages together, and return the cursor of the last one.

        A write that was cancelled, or raised StoreError, may be stored: at the latest with the next
        write or the end. So do not repeat it.

        Raises:
            ValidationError: pydantic's; a message is not of the type.
            ChannelClosed: the channel was cancelled or deleted, or another writer continues it.
            StoreError: the store could not be reached for two leases, or has lost messages.
        """
        if self._lost is not None:
            raise self._lost
        self._note(await self._append([self._record(item).pack() for item in items]))
        if self._lost is not None:
            raise self._lost
        self.cursor = str(Cursor(self._log().stream, self._generation, self.written))
        return self.cursor

    async def __aenter__(self) -> "ChannelWriter[T]":
        log = self._log()
        self._generation, info = await _acquired(log)
        if info.head:
            self.cursor = str(Cursor.at(info, info.head))
        self._writer = await self._stack.enter_async_context(
            log.recordings.writing(log.stream, self._generation, info.head, self._note)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        async with self._stack:
            if self._gone is None:
                state, end = self._end_of(error)
                self._note(await self._append([end], end=state))
            if error is None and self._gone is not None:
                raise self._gone  # its watchers are not told that it ended well

    def _end_of(self, error: BaseException | None) -> tuple[EndState, bytes]:
        """Return the state and the record of the end of a block."""
        items: dict[str, Any] = {"items": self.written + len(self._unsure)}
        if error is None:
            return "done", StreamRecord.end("done", items).pack()
        if self._lost is not None:
            return "cancelled", StreamRecord.end("cancelled", items).pack()
        if not isinstance(error, Exception):
            body = {**items, "reason": "shutdown"}
            return "interrupted", StreamRecord.end("interrupted", body).pack()
        problem = error if isinstance(error, Problem) else Problem(500)
        try:
            return "error", StreamRecord.end("error", problem.body).pack()
        except Exception as why:  # its watchers wait for an end
            name = self._log().name
            logger.error(
                "the end of the channel %r is a 500: %r is no JSON: %r", name, problem, why
            )
            return "error", StreamRecord.end("error", Problem(500).body).pack()

    async def _append(self, payloads: list[bytes], end: EndState | None = None) -> AppendResult:
        """Append after what a cancelled call may have stored: that is sent again, and skipped."""
        async with self._turn:
            self._unsure = [*self._unsure, *payloads]
            result = await self._open.append(self._unsure, end=end)
            self._unsure = []
            return result

    @property
    def _open(self) -> LeasedWriter:
        if self._writer is None:
            raise RuntimeError("a channel is written in the block of its writer: `async with`")
        return self._writer

    @property
    def _gone(self) -> Exception | None:
        """Why not even an end can be written."""
        return None if isinstance(self._lost, _Cancelled) else self._lost

    def _note(self, result: AppendResult) -> None:
        name = self._log().name
        if result is AppendResult.CANCEL:
            self._lost = _Cancelled(name, "was cancelled")
        elif result is AppendResult.FENCED:
            self._lost = ChannelClosed(name, "is continued by another writer")
        elif result is AppendResult.CLOSED:
            self._lost = ChannelClosed(name)
        elif result is AppendResult.GAP:
            self._lost = StoreError(f"the store has lost the last messages of the channel {name!r}")


class _Cancelled(ChannelClosed):
    """The channel was cancelled, and its writer shall end."""


async def _acquired(log: ChannelLog) -> tuple[int, StreamInfo]:
    """Become the writer. Returns its generation, and the state of the channel.

    A writer that may be alive is waited for, until its lease ends. A channel that was interrupted
    begins anew.

    Raises:
        ChannelClosed: the channel has ended.
        Problem: 409 if it has another writer, or was published to.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 1.5 * log.store.limits.lease
    while True:
        info = await log.store.info(log.stream)
        if info is None or info.expired or info.state == "interrupted":
            if info is not None:
                await log.store.delete(log.stream)
            made = await log.create(leased=True)
            info = await log.store.info(log.stream)
            if info is not None and info.generations[0][0] == made.generation:
                return made.generation, info
        if info is None or info.state == "interrupted":
            continue
        if info.new.lifetime is not None:
            raise Problem(409, f"the channel {log.name!r} is published to, so it has no one writer")
        if info.state != "running":
            raise ChannelClosed(log.name)
        if info.is_abandoned:
            generation = await log.store.take_over(log.stream)
            found = await log.store.info(log.stream)
            if generation is not None and found is not None:
                return generation, found
        elif loop.time() > deadline:
            raise Problem(409, f"the channel {log.name!r} has another writer, which is alive")
        else:
            await asyncio.sleep(min(max(info.lease, 0.0), log.store.limits.lease) + 0.01)
