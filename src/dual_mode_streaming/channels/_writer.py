"""The one writer of a channel: a job whose watchers are told of its end, also if it is killed."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Generic, TypeVar

from dual_mode_streaming.channels._log import ChannelClosed, ChannelLog
from dual_mode_streaming.errors import Problem, StoreError
from dual_mode_streaming.recordings import Cursor, LeasedWriter, StreamRecord
from dual_mode_streaming.sse import EndState
from dual_mode_streaming.stores import AppendResult

T = TypeVar("T")


class ChannelWriter(Generic[T]):
    """Writes a channel alone, in an `async with` block, whose end is the end of the channel.

    A block that ends well ends the channel as `done`, a Problem as that error, another Exception as
    a 500, and what stops a program, such as a SystemExit, as `interrupted`. The process holds a
    lease meanwhile: if it dies, watchers get `interrupted` within two leases.

    Attributes:
        written: how many messages the channel has: above 0 at the start if an earlier writer was
            killed, and this one continues.
        cursor: the cursor of the last message; "" before the first.
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

    @property
    def written(self) -> int:
        return self._open.head

    async def write(self, *items: T) -> str:
        """Write messages together, and return the cursor of the last one.

        Raises:
            ValidationError: pydantic's; a message is not of the type.
            ChannelClosed: the channel was cancelled or deleted, or another writer continues it.
            StoreError: the store could not be reached for two leases, or has lost messages.
        """
        if self._lost is not None:
            raise self._lost
        payloads = [self._record(item).pack() for item in items]
        self._note(await self._open.append(payloads))
        if self._lost is not None:
            raise self._lost
        self.cursor = str(Cursor(self._log().stream, self._generation, self.written))
        return self.cursor

    async def __aenter__(self) -> "ChannelWriter[T]":
        log = self._log()
        self._generation, head = await _acquired(log)
        self._writer = await self._stack.enter_async_context(
            log.recordings.writing(log.stream, self._generation, head, self._note)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        async with self._stack:
            cancelled = isinstance(self._lost, _Cancelled)
            if self._lost is not None and not cancelled:
                return
            state: EndState = "done"
            body: dict[str, Any] = {"items": self.written}
            if error is not None and cancelled:
                state = "cancelled"
            elif isinstance(error, Exception):
                problem = error if isinstance(error, Problem) else Problem(500)
                state, body = "error", problem.body
            elif error is not None:
                state, body["reason"] = "interrupted", "shutdown"
            await self._open.append([StreamRecord.end(state, body).pack()], end=state)

    @property
    def _open(self) -> LeasedWriter:
        if self._writer is None:
            raise RuntimeError("a channel is written in the block of its writer: `async with`")
        return self._writer

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


async def _acquired(log: ChannelLog) -> tuple[int, int]:
    """Become the writer. Returns its generation, and the number of messages that there are.

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
                return made.generation, 0
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
                return generation, found.head
        elif loop.time() > deadline:
            raise Problem(409, f"the channel {log.name!r} has another writer, which is alive")
        else:
            await asyncio.sleep(min(max(info.lease, 0.0), log.store.limits.lease) + 0.01)
