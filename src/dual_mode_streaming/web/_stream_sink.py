"""A streamed answer on its way: items are pulled, framed, and sent when nothing more is ready.

All of it runs in the owner's task. A slow source is flushed item by item, a fast one leaves in
large sends; no queue, no producer task, and a reader that stalls pauses the generator.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from time import perf_counter
from typing import Any, Final, Protocol

from starlette.exceptions import HTTPException
from starlette.types import Message, Send

from dual_mode_streaming.errors import BrokenTransfer, ItemTooLarge, SourceCancelled
from dual_mode_streaming.running.owner import End, Owner, close_source, drive, logger, throw_into
from dual_mode_streaming.running.timeslice import Turns
from dual_mode_streaming.web._deadlines import Deadlines
from dual_mode_streaming.web._observing import Answer
from dual_mode_streaming.web._options import Options
from dual_mode_streaming.web._problems import problem_of, refusal_of

__all__ = ["Delivery", "Frames"]

FLUSH_BYTES: Final = 32 * 1024
"""So many bytes leave even if more items are ready."""


class Frames(Protocol):
    """A wire format of a streamed answer: how its items, its end and its failure look."""

    @property
    def heartbeat(self) -> bytes: ...
    @property
    def count(self) -> int: ...

    def opening(self, *, retry: int | None = None, reset: Any = None) -> bytes: ...
    def item(self, item: Any) -> bytes: ...
    def done(self) -> bytes: ...
    def failed(self, problem: Mapping[str, Any], *, final: bool = True) -> bytes | None: ...


class Delivery:
    """Delivers one source as one streamed response.

    `start` gives the `http.response.start` message at the moment of the commit, when status and
    headers become final; `reset` is what a reader is told who came with a cursor that is not ours
    to serve; `observed` is told of each send. `failure` holds the error that ended the stream after
    the commit, once it has ended.
    """

    __slots__ = (
        "_beat",
        "_buffer",
        "_committed",
        "_deadlines",
        "_frames",
        "_head",
        "_items_sent",
        "_last_sent",
        "_loop",
        "_observed",
        "_options",
        "_owner",
        "_reset",
        "_send",
        "_sending",
        "_source",
        "_start",
        "_timer",
        "_turns",
        "_waited",
        "failure",
    )

    def __init__(
        self,
        source: AsyncIterator[Any],
        frames: Frames,
        *,
        owner: Owner,
        send: Send,
        start: Callable[[], Message],
        options: Options,
        reset: Any = None,
        observed: Answer | None = None,
    ) -> None:
        self.failure: BaseException | None = None
        self._source = source
        self._frames = frames
        self._owner = owner
        self._send = send
        self._start = start
        self._options = options
        self._reset = reset
        self._observed = observed
        self._buffer = bytearray()
        self._head: Message | None = None  # final from the first item on
        self._committed = self._waited = self._sending = False
        self._last_sent = 0.0
        self._items_sent = 0
        self._loop = asyncio.get_running_loop()  # kept: to ask for it is a system call (3.11)
        self._turns = Turns()
        self._deadlines = Deadlines(options, owner, self._loop)
        self._timer: asyncio.TimerHandle | None = None  # grace first, then heartbeats
        self._beat: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Everything from the first item to the last byte; to be run in the owner's task.

        Raises what the source raises before the commit. After it a failure is told to the reader in
        the stream and kept in `failure`; a format that cannot tell it raises BrokenTransfer, and
        so does a source that wants the transfer broken.
        """
        self._deadlines.start()
        try:
            await drive(self._deliver(), self._on_wait)
        finally:
            self._deadlines.stop()
            if self._timer is not None:
                self._timer.cancel()
            if self._beat is not None:
                self._beat.cancel()
                await asyncio.wait({self._beat})

    @property
    def begun(self) -> bool:
        """Whether the head of the response has left."""
        return self._committed

    @property
    def _reader_has_gone(self) -> bool:
        end = self._owner.end
        return end is not None and not end.reader_is_there

    async def _deliver(self) -> None:
        error: BaseException | None = None
        try:
            try:
                if self._options.grace == 0:
                    await self._flush()
                await self._pump()
            finally:
                await close_source(self._source)
        except asyncio.CancelledError as cancelled:
            error = cancelled
            if self._owner.end is None:
                error = SourceCancelled()
                error.__cause__ = cancelled
        except Exception as exception:
            error = exception
        try:
            before_the_commit = self._head is None and self._owner.end is None
            if self._reader_has_gone or (before_the_commit and error is not None):
                raise error or asyncio.CancelledError  # it is not for us to tell
            await self._conclude(error)
        finally:
            del error  # its traceback holds this frame, and would keep all that hangs on it

    async def _pump(self) -> None:
        """Pull items at the speed of `async for`, and make way when a bound is reached."""
        source, buffer, frame = self._source, self._buffer, self._frames.item
        owner, turns, largest = self._owner, self._turns, self._options.event_bytes
        enough = min(FLUSH_BYTES, largest)
        making_way, unlooked = False, 1  # so many items until we look at more than their bytes
        while True:
            try:
                async for item in source:
                    framed = frame(item)
                    buffer += framed
                    unlooked -= 1
                    if unlooked and len(buffer) < enough and owner.end is None:
                        continue
                    if self._head is None:  # the first item: status and headers are final now
                        self._head = self._start()
                    size, item, framed = len(framed), None, b""  # the next wait may be long
                    now = perf_counter()
                    unlooked = turns.items_until_look(now)
                    if now > turns.ends or len(buffer) >= enough:
                        if size > largest:
                            del buffer[-size:]
                            raise ItemTooLarge(size, largest)
                        making_way = True
                        await self._make_way(now)
                        making_way = False
                    if owner.end is not None:
                        await asyncio.sleep(0)  # where a cancellation still under way arrives
                        raise asyncio.CancelledError  # and if the source has swallowed it
                return
            except asyncio.CancelledError as cancelled:
                if not making_way or owner.end is not None:
                    raise
                making_way = False
                try:  # a timeout of the source, across its yields, fired in our wait: it is told
                    buffer += frame(await throw_into(source, cancelled))
                except StopAsyncIteration:
                    return

    async def _make_way(self, now: float) -> None:
        """A bound is reached: send, and let others run if it is their turn."""
        if self._waited:  # the source has let others run since we looked last: a new turn
            self._waited = False
            self._turns.begin(now)
            if len(self._buffer) < FLUSH_BYTES:
                return
        await self._flush()
        if now > self._turns.ends:
            await self._turns.give_way()
            self._waited = False  # that was our own wait, and the next item may leave at once

    def _on_wait(self) -> Awaitable[None] | None:
        """Called before each wait: for the source, for the connection, or for other tasks."""
        self._waited = True
        if self._timer is None:  # the first wait of this answer
            self._owner.watch()
            committed = self._committed or self._buffer  # or about to be
            self._arm(self._options.heartbeat if committed else self._options.grace)
        nothing = not self._buffer or self._sending or self._reader_has_gone
        return None if nothing else self._flush()

    async def _flush(self, *, more: bool = True) -> None:
        """Send what is buffered, the head of the response before it if it has not left yet."""
        self._sending = True
        try:
            if self._beat is not None:
                await asyncio.wait({self._beat})
            if not self._committed:
                await self._commit()
            elif more and not self._buffer:
                return
            await self._transmit_buffer(more=more)
        finally:
            self._sending = False

    async def _commit(self) -> None:
        self._head = self._head or self._start()
        waited = await self._transmit(self._head)
        self._committed = True
        self._buffer[:0] = self._frames.opening(retry=self._options.retry, reset=self._reset)
        if waited:
            await asyncio.sleep(0)

    async def _transmit_buffer(self, *, more: bool = True) -> None:
        body = bytes(self._buffer)
        self._buffer.clear()
        try:
            message = {"type": "http.response.body", "body": body, "more_body": more}
            waited = await self._transmit(message)
        except asyncio.CancelledError:
            self._buffer[:0] = body  # servers wait for room before they write
            raise
        self._note_sent(len(body))
        if waited and more:
            await asyncio.sleep(0)

    def _note_sent(self, size: int) -> None:
        if self._frames.count != self._items_sent:
            self._items_sent = self._frames.count
            self._deadlines.item(self._last_sent)
        if self._observed is not None:
            self._observed.sent(self._items_sent, size)

    async def _transmit(self, message: Message) -> bool:
        """Send. Out: whether it waited; then note what was sent, and let the watch go first."""
        try:
            await drive(self._send(message), self._deadlines.full)
        except OSError:  # some servers say so when the client has gone (ASGI 2.4)
            self._owner.stop(End.DISCONNECTED)
        finally:
            waited = self._deadlines.room()
        self._last_sent = self._loop.time()
        return waited

    async def _conclude(self, error: BaseException | None) -> None:
        """Send the end: of a whole answer, of a failed one, or of one that we cut."""
        end = self._owner.end
        if end is not None:  # also of a source that took its CancelledError for a reason to return
            ending = self._cut_short(end)
        elif error is None:
            ending = self._frames.done()
        else:
            meant = isinstance(error, (HTTPException, BrokenTransfer))  # and no accident
            logger.error(
                "a stream failed after %d items%s",
                self._frames.count,
                f": {error}" if meant else "",
                exc_info=None if meant else error,
            )
            told = not isinstance(error, BrokenTransfer)
            ending = self._frames.failed(problem_of(error)) if told else None
        if ending is None:
            await self._flush()
            raise BrokenTransfer("the stream failed after its start") from error
        self.failure = error if end is None else None
        self._buffer += ending
        try:
            await self._flush(more=False)
        except asyncio.CancelledError:
            if end is not None or self._owner.end is None or self._reader_has_gone:
                raise
            await self._flush(more=False)  # we ended it while its end was on the way

    def _cut_short(self, end: End) -> bytes | None:
        """The ending of an answer that we end early; without an end id, so that readers return."""
        refusal = refusal_of(end)
        if self._head is None and not self._options.feed:
            raise refusal
        ending = self._frames.failed(problem_of(refusal), final=False)
        if ending and self._options.feed:  # its readers come again, but not all at once
            return self._frames.opening(retry=1000 + secrets.randbelow(2000))
        return ending

    def _arm(self, delay: float | None) -> None:
        if delay is not None:
            self._timer = self._loop.call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        """The grace is over, or it is time to look whether the stream is idle."""
        interval = self._options.heartbeat
        idle = self._loop.time() - self._last_sent
        due = interval is not None and idle >= interval * 0.999
        if self._committed and not due:
            self._arm(None if interval is None else interval - idle)
            return
        if not self._sending and self._beat is None:
            self._beat = self._loop.create_task(self._send_beat())
            self._beat.add_done_callback(self._beat_done)
        self._arm(interval)

    async def _send_beat(self) -> None:
        """Send the head of the response, or a heartbeat, while the source makes us wait."""
        if self._sending:
            return  # the source has made something at this very moment, and it is on its way
        began = self._committed
        if not began:
            await self._commit()
        self._buffer += self._frames.heartbeat
        if self._buffer or not began:  # some servers and middlewares hold the head back till a body
            await self._transmit_buffer()

    def _beat_done(self, beat: asyncio.Task[None]) -> None:
        self._beat = None
        if not beat.cancelled() and (error := beat.exception()):
            logger.error("the head or heartbeat of a stream could not be sent", exc_info=error)
            self._owner.stop(End.DISCONNECTED)
