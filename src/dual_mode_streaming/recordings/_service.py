"""The recordings of one process: start, find, read, cancel and delete streams of a store.

They also take over the streams whose producer is gone.
"""

import asyncio
import contextlib
import functools
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

from dual_mode_streaming.recordings._entries import Cursor, Gap, StoredRecord, StreamRecord
from dual_mode_streaming.recordings._keeper import LeaseKeeper
from dual_mode_streaming.recordings._operation import Operation, RecordingRequest
from dual_mode_streaming.recordings._producer import Producer
from dual_mode_streaming.recordings._tail import Tail, TailReader
from dual_mode_streaming.recordings._writer import LeasedWriter
from dual_mode_streaming.running._tasks import end_tasks
from dual_mode_streaming.running.owner import End
from dual_mode_streaming.sse import EndState
from dual_mode_streaming.stores._base import AppendResult, NewStream, Store, StoreError, StreamInfo
from dual_mode_streaming.stores._outages import OutageLog

logger = logging.getLogger("dual_mode_streaming")


class Recordings:
    """The recorded streams of one store, as one process sees them.

    `aclose` ends the generators that run in this process and closes the store. If other workers can
    resume a stream, they continue it; every other stream ends as interrupted.

    Args:
        store: the store, which these recordings own from now on.

    Attributes:
        store: the same.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._operations: dict[str, Operation] = {}
        self._producers: dict[str, Producer] = {}
        self._written: dict[str, int] = {}  # by others than producers: the generation of each
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tails: dict[str, Tail] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._unread_timers: dict[str, asyncio.TimerHandle] = {}
        self._recovery: asyncio.Task[None] | None = None
        self._keeper = LeaseKeeper(store, self._writers)
        self._is_closing = False

    @property
    def producing(self) -> frozenset[str]:
        """The ids of the streams that are produced in this process."""
        return frozenset(self._producers)

    @property
    def readers(self) -> dict[str, int]:
        """The number of readers in this process, by the id of the stream."""
        return {stream: tail.readers for stream, tail in self._tails.items()}

    def add(self, operation: Operation) -> None:
        """Register an operation, so that its streams can be continued in this process."""
        self._operations[operation.name] = operation

    async def start(
        self,
        request: RecordingRequest,
        source: Callable[[], AsyncIterator[Any]],
        *,
        stream: str | None = None,
    ) -> StreamInfo:
        """Start a recording, or find the one with the same idempotency key.

        One that failed in passing is not found: it can be tried again.

        Args:
            request: what to record.
            source: makes the generator. It is called only for a new recording, in the task that
                runs and closes the generator.
            stream: the id of a new recording; a random one by default.

        Returns:
            The state of the stream.

        Raises:
            StoreError: the store failed, or these recordings are being closed.
        """
        if self._is_closing:
            raise StoreError("no recording can be started: this process is shutting down")
        self.start_recovery()
        new = NewStream(
            stream=stream or secrets.token_hex(16),
            operation=request.operation.name,
            owner=request.owner,
            fingerprint=request.fingerprint,
            request=request.request,
        )
        found = await self.store.create(new, request.idempotency_key)
        if found != new.stream and await self._failed_in_passing(found, new):
            found = await self.store.create(new, request.idempotency_key, replaces=found)
        if found == new.stream:
            self._produce(request.operation, found, source)
            return StreamInfo(
                new=new,
                state="running",
                head=0,
                earliest=1,
                generations=((1, 1),),
                cancelling=False,
                lease=self.store.limits.lease,
            )
        info = await self.store.info(found)
        if info is None:
            raise StoreError(f"the store lost the stream {found} after it had found it")
        return info

    async def _failed_in_passing(self, stream: str, new: NewStream) -> bool:
        """Return whether a stream of the same request failed for a reason that may have passed."""
        info = await self.store.info(stream)
        if (
            info is None
            or info.state not in ("error", "interrupted")
            or info.new.fingerprint != new.fingerprint
        ):
            return False
        entries = await self.store.read(stream, info.head - 1)
        return bool(entries) and StreamRecord.unpack(entries[-1].payload).is_passing_failure

    async def find(self, stream: str, owner: str) -> StreamInfo | None:
        """Return the state of a stream; None if the owner has no such stream.

        Raises:
            StoreError: the store failed.
        """
        try:
            info = await self.store.info(stream)
        except ValueError:
            return None
        if info is None or info.new.owner != owner:
            return None
        if info.is_abandoned:
            await self._recover(stream)
            info = await self.store.info(stream)
        return info

    async def find_by_key(self, idempotency_key: str, owner: str) -> StreamInfo | None:
        """Return the state of the stream that was started with a key; None if there is none.

        Raises:
            StoreError: the store failed.
        """
        stream = await self.store.find(idempotency_key)
        return None if stream is None else await self.find(stream, owner)

    async def read(
        self, info: StreamInfo, after: Cursor
    ) -> AsyncGenerator[StoredRecord | Gap, None]:
        """Yield the records of a stream after a cursor, to its end, as they arrive.

        If the stream does not have the cursor, or has it no more, a Gap is yielded, and then the
        records from the earliest on.

        Args:
            info: the state of the stream, from `start` or `find`.
            after: the cursor.

        Raises:
            StreamGone: the stream was deleted or has expired.
            StoreError: the store failed for too long, or `aclose` was called.
        """
        async with self._tail(info) as tail:
            reader = TailReader(tail, after)
            while records := await reader.next():
                for record in records:
                    yield record
                del records  # two batches at once would cost full garbage collections

    @contextlib.asynccontextmanager
    async def writing(
        self, stream: str, generation: int, head: int, on_result: Callable[[AppendResult], None]
    ) -> AsyncIterator[LeasedWriter]:
        """Write a stream without a generator, with a lease that is renewed: see `LeasedWriter`."""
        self._keeper.start()
        self._written = {**self._written, stream: generation}  # the keeper's thread reads it
        try:
            writer = LeasedWriter(self.store, stream, generation, head, on_result)
            async with writer:
                yield writer
        finally:
            self._written = dict(self._written.items() - {(stream, generation)})  # no newer one's

    async def cancel(self, stream: str) -> None:
        """Ask the producer of a stream to stop, in whichever process it runs.

        Raises:
            StoreError: the store failed.
        """
        await self.store.cancel(stream)
        producer = self._producers.get(stream)
        if producer is not None:
            producer.stop(End.STOPPED)
        else:
            await self._recover(stream)  # if its producer is gone, nobody else ends it

    async def delete(self, stream: str) -> None:
        """Stop a stream and delete it.

        Raises:
            StoreError: the store failed.
        """
        await self.store.delete(stream)
        if (producer := self._producers.get(stream)) is not None:
            producer.stop(End.SUPERSEDED)

    async def aclose(self, patience: float = 0.0) -> None:
        """End the generators of this process, and close the store. Readers get a StoreError.

        Args:
            patience: the time in seconds in which generators may end by themselves, except those
                that another worker can resume.
        """
        self._is_closing = True
        await end_tasks(self._recovery)
        for timer in self._unread_timers.values():
            timer.cancel()
        for producer in self._producers.values():
            if producer.resumes:
                producer.stop(End.DRAINING)
        if patience > 0 and self._running:
            await asyncio.wait(self._running.values(), timeout=patience)
        while waited := {*self._running.values(), *self._closing}:
            for producer in self._producers.values():
                producer.stop(End.DRAINING)
            await asyncio.wait(waited)
            self._closing -= waited
        for tail in tuple(self._tails.values()):
            await tail.close()
        self._keeper.stop()
        await self.store.aclose()

    def _writers(self) -> dict[str, int]:
        produced = {stream: each.generation for stream, each in list(self._producers.items())}
        return produced | self._written

    def _produce(
        self,
        operation: Operation,
        stream: str,
        source: Callable[[], AsyncIterator[Any]],
        *,
        generation: int = 1,
        head: int = 0,
    ) -> None:
        producer = Producer(self.store, stream, operation, source, generation=generation, head=head)
        task = asyncio.get_running_loop().create_task(producer.run())
        self._producers[stream] = producer
        self._keeper.start()
        self._running[stream] = task
        if self._is_closing:
            producer.stop(End.DRAINING)

        def remove(done: object) -> None:
            if self._running.get(stream) is done:  # not a newer one
                del self._producers[stream], self._running[stream]

        task.add_done_callback(remove)

    @contextlib.asynccontextmanager
    async def _tail(self, info: StreamInfo) -> AsyncIterator[Tail]:
        """Count a reader of the tail that all readers of a stream share; the last one closes it."""
        stream = info.new.stream
        if (timer := self._unread_timers.pop(stream, None)) is not None:
            timer.cancel()
        tail = self._tails.get(stream)
        if tail is None or tail.has_failed:
            tail = self._tails[stream] = Tail(self.store, info, self._recover)
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
                    self._start_unread_timer(info)

    def _start_unread_timer(self, info: StreamInfo) -> None:
        """Cancel the producer in a while, if its operation wants that without readers."""
        stream = info.new.stream
        operation = self._operations.get(info.new.operation)
        if stream in self._producers and operation is not None and operation.unread is not None:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(operation.unread, self._cancel_unread, stream)
            self._unread_timers[stream] = timer

    def _cancel_unread(self, stream: str) -> None:
        self._unread_timers.pop(stream, None)
        if (producer := self._producers.get(stream)) is not None:
            producer.stop(End.STOPPED)

    def start_recovery(self) -> None:
        """Start to take over, regularly, streams whose producer is gone. `start` does it too."""
        if self._recovery is None:
            self._recovery = asyncio.get_running_loop().create_task(self._recover_all())

    async def _recover_all(self) -> None:
        outage = OutageLog("abandoned streams cannot be listed")
        while True:
            await asyncio.sleep(self.store.limits.lease / 2)
            try:
                for stream in await self.store.abandoned():
                    try:
                        await self._recover(stream)
                    except StoreError as error:
                        logger.warning("the stream %s could not be taken over: %s", stream, error)
                outage.worked()
            except StoreError as error:
                outage.failed(error)
            except Exception:  # the task must not end
                logger.exception("abandoned streams could not be taken over")

    async def _recover(self, stream: str) -> None:
        """Take a stream over if its producer is gone: continue it if possible, else end it."""
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
        state: EndState = "cancelled" if info.cancelling else "interrupted"
        last = StreamRecord.end(state, {"reason": "the producer is gone", "items": info.head})
        await self.store.append(stream, generation, info.head + 1, [last.pack()], end=state)
