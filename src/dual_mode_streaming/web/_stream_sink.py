"""The stream sink: items are framed, and sent as soon as no more are ready.

It runs in the owner's task, without a queue or a second task for the source. A slow source is sent
item by item, a fast one in large pieces. A stalled client pauses the generator.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.types import Message, Send

from dual_mode_streaming.errors import BrokenTransfer, ItemTooLarge, Problem, StoreError
from dual_mode_streaming.rendering import Frames
from dual_mode_streaming.running._tasks import end_tasks
from dual_mode_streaming.running.owner import End, Owner, logger
from dual_mode_streaming.running.pull import drive, pull
from dual_mode_streaming.running.timeslice import Timeslice
from dual_mode_streaming.web._deadlines import Deadlines
from dual_mode_streaming.web._observing import Answer
from dual_mode_streaming.web._options import Options
from dual_mode_streaming.web._problems import problem_of, problem_of_end

FLUSH_BYTES: Final = 32 * 1024
"""The size at which the buffer is sent even if more items are ready, in bytes."""

Start = tuple[Message, Any]
"""The `http.response.start` message; the data of the `reset` event if the client's cursor cannot be
served, else None."""


class StreamSink:
    """Send one source as one streamed response.

    Args:
        frames: the wire format.
        start: a function that is called once, at the commit, when status and headers become final.
        continues: tells after the commit whether the next answer goes on where this one is cut.
        observed: the `Answer` that is updated at each send, if there is an app.

    Attributes:
        failure: the error that ended the stream after the commit, once the stream has ended.
    """

    __slots__ = (
        "_beat",
        "_buffer",
        "_committed",
        "_continues",
        "_deadlines",
        "_frames",
        "_items_sent",
        "_last_sent",
        "_loop",
        "_observed",
        "_options",
        "_owner",
        "_send",
        "_sending",
        "_start",
        "_start_message",
        "_timer",
        "failure",
        "take",
    )

    def __init__(
        self,
        frames: Frames,
        *,
        owner: Owner,
        send: Send,
        start: Callable[[], Start],
        continues: Callable[[], bool],
        options: Options,
        observed: Answer | None = None,
    ) -> None:
        self.failure: BaseException | None = None
        self._frames = frames
        self._owner = owner
        self._send = send
        self._start = start
        self._continues = continues
        self._options = options
        self._observed = observed
        self._buffer = bytearray()
        self.take = _framing(frames, self._buffer, options["event_bytes"])
        self._start_message: Message | None = None  # set at the first item, when it is final
        self._committed = self._sending = False
        self._last_sent = 0.0
        self._items_sent = 0
        self._loop = asyncio.get_running_loop()  # slow on Python 3.11: a system call
        self._deadlines = Deadlines(options, owner, self._loop)
        self._timer: asyncio.TimerHandle | None = None  # grace first, then heartbeats
        self._beat: asyncio.Task[None] | None = None

    async def run(self, source: AsyncIterator[Any]) -> None:
        """Send the whole response, and close the source. Run it in the owner's task.

        An error after the commit is sent in the stream, and is then in `failure`.

        Raises:
            BrokenTransfer: the wire format has no frame for a failure after the commit, or the
                source raised it.
            Exception: whatever the source raises before the commit.
        """
        self._deadlines.start()
        try:
            timeslice = Timeslice()
            await drive(self._deliver(source, timeslice), self._on_wait, timeslice)
        finally:
            self._deadlines.stop()
            if self._timer is not None:
                self._timer.cancel()
            if self._beat is not None:
                await end_tasks(self._beat)

    @property
    def begun(self) -> bool:
        """Whether the headers were sent."""
        return self._committed

    @property
    def _client_has_gone(self) -> bool:
        end = self._owner.end
        return end is not None and not end.client_is_there

    async def _deliver(self, source: AsyncIterator[Any], timeslice: Timeslice) -> None:
        error: BaseException | None = None
        try:
            if self._options["grace"] == 0:
                await self.flush()
            await pull(source, self, self._owner, timeslice)
        except asyncio.CancelledError as cancelled:
            error = cancelled
        except ItemTooLarge as exception:
            if self._frames.count:  # there was an item, so the headers are final
                self.check()
            error = exception
        except Exception as exception:
            error = exception
        try:
            before_the_commit = self._start_message is None and self._owner.end is None
            if self._client_has_gone or (before_the_commit and error is not None):
                raise error or asyncio.CancelledError  # an error cannot be sent in the stream
            await self._conclude(error)
        finally:
            del error  # its traceback holds this frame: a reference cycle

    def check(self) -> None:
        """Set status and headers, and open the stream: at the first item, or at the commit."""
        if self._start_message is None:
            self._start_message, reset = self._start()
            self._buffer[:0] = self._frames.opening(retry=self._options["retry"], reset=reset)

    def _on_wait(self) -> Awaitable[None] | None:
        """Flush, and watch for the disconnect. Called before each wait of this task."""
        if self._timer is None:  # the first wait of this answer
            self._owner.watch()
            committed = self._committed or self._buffer  # or about to be
            self._arm(self._options["heartbeat"] if committed else self._options["grace"])
        nothing = not self._buffer or self._sending or self._client_has_gone
        return None if nothing else self.flush()

    async def flush(self, *, more: bool = True) -> None:
        """Send the headers if they were not sent yet, and the buffer."""
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
        self.check()
        assert self._start_message is not None
        waited = await self._transmit(self._start_message)
        self._committed = True
        if self._timer is not None:  # the grace has not passed yet: heartbeats from here on
            self._timer.cancel()
            self._arm(self._options["heartbeat"])
        if waited:
            await asyncio.sleep(0)

    async def _transmit_buffer(self, *, more: bool = True) -> None:
        body = bytes(self._buffer)
        self._buffer.clear()
        try:
            message = {"type": "http.response.body", "body": body, "more_body": more}
            waited = await self._transmit(message)
        except asyncio.CancelledError:
            self._buffer[:0] = body  # the server has not written it: it waited for space
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
        """Send the message. Returns whether it had to wait."""
        try:
            await drive(self._send(message), self._deadlines.send_blocked)
        except OSError:  # the client has gone (ASGI 2.4)
            self._owner.stop(End.DISCONNECTED)
        finally:
            waited = self._deadlines.send_done()
        self._last_sent = self._loop.time()
        return waited

    async def _conclude(self, error: BaseException | None) -> None:
        """Send the end of a complete answer, of a failed one, or of one that the server ends."""
        end = self._owner.end
        if end is not None:  # also if the source returned when it was cancelled
            ending = self._cut_short(end)
        elif error is None:
            ending = self._frames.done()
        else:
            intended = isinstance(error, (HTTPException, BrokenTransfer, StoreError))
            logger.error(
                "a stream failed after %d items%s",
                self._frames.count,
                f": {error}" if intended else "",
                exc_info=None if intended else error,
            )
            if isinstance(error, BrokenTransfer):
                ending = None
            elif isinstance(error, StoreError):
                ending = self._interrupted(problem_of(error), continues=self._continues())
            else:
                ending = self._frames.failed(problem_of(error).body)
        if ending is None:
            await self.flush()
            raise BrokenTransfer("the stream failed after its start") from error
        self.failure = error if end is None else None
        self._buffer += ending
        try:
            await self.flush(more=False)
        except asyncio.CancelledError:
            if end is not None or self._client_has_gone:
                raise
            await self.flush(more=False)  # it was stopped, or cancelled by its source, meanwhile

    def _cut_short(self, end: End) -> bytes | None:
        """Return the end of an answer that the server ends; without an id, so clients reconnect."""
        problem = problem_of_end(end)
        is_feed = self._options["feed"]
        if self._start_message is None and not is_feed:
            raise problem
        return self._interrupted(problem, continues=is_feed or self._continues())

    def _interrupted(self, problem: Problem, *, continues: bool) -> bytes | None:
        """Return the end of an answer with which the next request may go on."""
        ending = self._frames.failed(problem.body, final=False)
        if ending and continues:  # no error, and its clients reconnect at different times
            return self._frames.opening(retry=1000 + secrets.randbelow(2000))
        return ending

    def _arm(self, delay: float | None) -> None:
        if delay is not None:
            self._timer = self._loop.call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        """Send the headers after the grace, or a heartbeat if the stream is idle."""
        interval = self._options["heartbeat"]
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
        """Send the headers, or a heartbeat, while the source is silent."""
        if self._sending:
            return  # an item is being sent at this moment
        began = self._committed
        if not began:
            await self._commit()
        self._buffer += self._frames.heartbeat
        if self._buffer or not began:  # some servers send the headers with the first body only
            await self._transmit_buffer()

    def _beat_done(self, beat: asyncio.Task[None]) -> None:
        self._beat = None
        if not beat.cancelled() and (error := beat.exception()):
            logger.error("the headers or a heartbeat of a stream could not be sent", exc_info=error)
            self._owner.stop(End.DISCONNECTED)


def _framing(frames: Frames, buffer: bytearray, largest: int) -> Callable[[Any], bool]:
    """Return the `take` of a sink: frame an item into the buffer; true if the buffer is full."""
    frame, enough = frames.item, min(FLUSH_BYTES, largest)

    def take(item: Any) -> bool:
        framed = frame(item)
        buffer.extend(framed)
        if len(buffer) < enough:
            return False
        if len(framed) > largest:
            del buffer[-len(framed) :]
            raise ItemTooLarge(len(framed), largest)
        return True

    return take
