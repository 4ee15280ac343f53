"""The recordings of one app: start one, read any, end one; look after what others have left."""

import asyncio
import contextlib
import functools
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from dual_mode_streaming.recordings._entries import Cursor, Lost, Record, Recorded
from dual_mode_streaming.recordings._producer import Producer
from dual_mode_streaming.recordings._tail import Tail
from dual_mode_streaming.running.owner import End
from dual_mode_streaming.stores._base import NewStream, Store, StoreError, StreamInfo

__all__ = ["Operation", "Recordings", "Start"]

logger = logging.getLogger("dual_mode_streaming")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What is recorded, known to every worker under the same name.

    `record_of` and `problem_of` are as for a Producer. `resume` makes the source that goes on after
    so many records of a request; None where nobody can. `unread` says what becomes of a producer
    whose last reader in this process has left: it goes on (None), or stops after so many seconds.
    """

    name: str
    record_of: Callable[[Any], Record | None]
    problem_of: Callable[[BaseException], dict[str, Any]]
    resume: Callable[[bytes, int], AsyncIterator[Any]] | None = None
    unread: float | None = None
    cleanup_timeout: float = 5.0
    max_duration: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What one request asks to be recorded. `idempotency_key` is None if it has none."""

    operation: Operation
    owner: str
    fingerprint: str
    request: bytes = b""
    idempotency_key: str | None = None


class Recordings:
    """All streams of a store, as one process sees them.

    `open` before use, and `aclose` at the end, which closes the store. Generators that others can
    resume are left to them then; the streams of all others end as interrupted.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._operations: dict[str, Operation] = {}
        self._producers: dict[str, Producer] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tails: dict[str, Tail] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._unread: dict[str, asyncio.TimerHandle] = {}
        self._janitor: asyncio.Task[None] | None = None
        self._is_closing = False

    def add(self, operation: Operation) -> None:
        """Make an operation known, so that its streams can be taken over here."""
        self._operations[operation.name] = operation

    async def start(self, start: Start, source: Callable[[], AsyncIterator[Any]]) -> StreamInfo:
        """Begin a recording, or find the one of the same idempotency key. Out: how it is with it.

        `source` makes the generator; it is called only if the recording is new, by the task that
        runs it. Raises StoreError.
        """
        if self._is_closing:
            raise StoreError("these recordings are being closed")
        self.look_after()
        new = NewStream(
            stream=secrets.token_hex(16),
            operation=start.operation.name,
            owner=start.owner,
            fingerprint=start.fingerprint,
            request=start.request,
        )
        stream = await self.store.create(new, start.idempotency_key)
        if stream == new.stream:
            self._produce(start.operation, stream, source, generation=1, head=0)
            return StreamInfo(
                new=new,
                state="running",
                head=0,
                earliest=1,
                generations=((1, 1),),
                cancelling=False,
                lease=self.store.limits.lease,
            )
        info = await self.store.info(stream)
        if info is None:
            raise StoreError("the store has lost a stream that was just there")
        return info

    async def find(self, stream: str, owner: str) -> StreamInfo | None:
        """How it is with a stream of that owner; None if there is none. Raises StoreError."""
        try:
            info = await self.store.info(stream)
        except ValueError:
            return None
        if info is None or info.new.owner != owner:
            return None
        if info.is_abandoned:
            await self._revive(stream)
            info = await self.store.info(stream)
        return info

    async def read(self, info: StreamInfo, after: Cursor) -> AsyncGenerator[Recorded | Lost, None]:
        """The records of a stream after a place, and what is lost of them; see `Tail.read`."""
        async with self._tail(info) as tail:
            records = tail.read(after)
            try:
                async for record in records:
                    yield record
            finally:
                await records.aclose()

    async def cancel(self, stream: str) -> None:
        """Ask the producer of a stream to stop, wherever it runs. Raises StoreError."""
        await self.store.cancel(stream)
        producer = self._producers.get(stream)
        if producer is not None:
            producer.stop(End.STOPPED)
        else:
            await self._revive(stream)  # a producer that is dead cannot stop: then it is ended here

    async def delete(self, stream: str) -> None:
        """Stop a stream and forget it. Raises StoreError."""
        await self.store.delete(stream)
        if (producer := self._producers.get(stream)) is not None:
            producer.stop(End.SUPERSEDED)

    async def aclose(self) -> None:
        """End what runs here, as said above, and close the store. Readers get a StoreError."""
        self._is_closing = True
        if self._janitor is not None:
            self._janitor.cancel()
            self._closing.add(self._janitor)
        for timer in self._unread.values():
            timer.cancel()
        while waited := {*self._running.values(), *self._closing}:
            for producer in self._producers.values():
                producer.stop(End.DRAINING)
            await asyncio.wait(waited)
            self._closing -= waited
        for tail in tuple(self._tails.values()):
            await tail.close()
        await self.store.aclose()

    def _produce(
        self,
        operation: Operation,
        stream: str,
        source: Callable[[], AsyncIterator[Any]],
        *,
        generation: int,
        head: int,
    ) -> None:
        producer = Producer(
            self.store,
            stream,
            source,
            record_of=operation.record_of,
            problem_of=operation.problem_of,
            generation=generation,
            head=head,
            cleanup_timeout=operation.cleanup_timeout,
            resumes=operation.resume is not None and self.store.shared,
            max_duration=operation.max_duration,
        )
        task = asyncio.get_running_loop().create_task(producer.run())
        self._producers[stream] = producer
        self._running[stream] = task
        if self._is_closing:
            producer.stop(End.DRAINING)

        def ended(_: object) -> None:
            self._producers.pop(stream, None)
            self._running.pop(stream, None)

        task.add_done_callback(ended)

    @contextlib.asynccontextmanager
    async def _tail(self, info: StreamInfo) -> AsyncIterator[Tail]:
        stream = info.new.stream
        if (timer := self._unread.pop(stream, None)) is not None:
            timer.cancel()
        tail = self._tails.get(stream)
        if tail is None or tail.has_failed:
            tail = self._tails[stream] = Tail(self.store, info, self._revive)
        tail.readers += 1
        try:
            yield tail
        finally:
            tail.readers -= 1
            if not tail.readers:
                if self._tails.get(stream) is tail:
                    del self._tails[stream]
                closing = asyncio.get_running_loop().create_task(tail.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
                if stream not in self._tails:
                    self._left(info)

    def _left(self, info: StreamInfo) -> None:
        """The last reader has left: some producers are not to go on for nobody."""
        stream = info.new.stream
        operation = self._operations.get(info.new.operation)
        producer = self._producers.get(stream)
        if producer is not None and operation is not None and operation.unread is not None:
            loop = asyncio.get_running_loop()
            self._unread[stream] = loop.call_later(operation.unread, self._abandon, stream)

    def _abandon(self, stream: str) -> None:
        self._unread.pop(stream, None)
        if (producer := self._producers.get(stream)) is not None:
            producer.stop(End.STOPPED)

    def look_after(self) -> None:
        """From now on, look for streams that others have left; `start` does it as well."""
        if self._janitor is None:
            self._janitor = asyncio.get_running_loop().create_task(self._look_after_all())

    async def _look_after_all(self) -> None:
        while True:
            await asyncio.sleep(self.store.limits.lease / 2)
            try:
                for stream in await self.store.abandoned():
                    try:
                        await self._revive(stream)
                    except StoreError as error:
                        logger.warning("no look at the abandoned stream %s: %s", stream, error)
            except StoreError as error:
                logger.warning("no look at abandoned streams: %s", error)
            except Exception:  # whatever it is: somebody has to look
                logger.exception("no look at abandoned streams")

    async def _revive(self, stream: str) -> None:
        """Take an abandoned stream over: go on with it if that can be done here, else end it."""
        info = await self.store.info(stream)
        if info is None or not info.is_abandoned or stream in self._producers or self._is_closing:
            return
        operation = self._operations.get(info.new.operation)
        generation = await self.store.take_over(stream)
        if generation is None:
            return
        info = await self.store.info(stream)
        if info is None:
            return
        if operation is not None and operation.resume is not None and not info.cancelling:
            source = functools.partial(operation.resume, info.new.request, info.head)
            self._produce(operation, stream, source, generation=generation, head=info.head)
            return
        state: Any = "cancelled" if info.cancelling else "interrupted"
        last = Record.end(state, {"reason": "the producer is gone", "items": info.head})
        await self.store.append(stream, generation, info.head + 1, [last.pack()], end=state)
