"""One task owns the generator, from the first `anext` to `aclose`; here that task is started,
watched and ended.

Ending it is the delicate part. The order is: cancel **once**, so that the awaits in a generator's
`finally` complete; wait, where no outer cancel scope reaches; after `cleanup_timeout` cancel a
second time; after as long again, abandon it and say so in the log.
"""

import asyncio
import enum
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio

from dual_mode_streaming.errors import BrokenTransfer

__all__ = ["End", "Owner"]

logger = logging.getLogger("dual_mode_streaming")


class End(enum.Enum):
    """Why an answer was ended from outside."""

    DISCONNECTED = "the client disconnected"
    STALLED = "the client took nothing for the send timeout"
    CANCELLED = "the request was cancelled"
    TOO_LONG = "the answer lasted too long"
    IDLE = "nothing came for the idle timeout"
    EXPIRED = "the credentials have expired"
    DRAINING = "the server is shutting down"
    STOPPED = "somebody asked for its end"
    SUPERSEDED = "another writer has taken it over"

    @property
    def client_is_there(self) -> bool:
        """The connection still works, so the answer can say how it ended."""
        return self in _TOLD


_TOLD = frozenset({End.TOO_LONG, End.IDLE, End.EXPIRED, End.DRAINING})


class Owner:
    """Runs one answer in a task of its own, and ends it in order when it must end early.

    `end` is None while nobody asked for an end. `watch` and `stop` may be called from anywhere in
    the event loop; `run` is awaited by the request's task and returns when the answer's task is
    done, or abandoned. `until_gone` returns when the client has gone.
    """

    __slots__ = (
        "_abandoned",
        "_loop",
        "_over",
        "_task",
        "_timeout",
        "_timer",
        "_until_gone",
        "_waiter",
        "_watch",
        "_work",
        "end",
    )

    def __init__(
        self, cleanup_timeout: float, until_gone: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.end: End | None = None
        self._until_gone = until_gone
        self._timeout = cleanup_timeout
        self._task: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._abandoned = False
        self._over = False

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` to its end.

        Raises what `work` raises, unless it was ended by `stop`: then what it raised on its way out
        is logged. A cancellation of the caller stops the work, waits for it, and is raised again.
        """
        # A new task has no part in the anyio scopes around the request: none of them can interrupt
        # the generator's cleanup. Its context is a copy of the request's.
        self._work = work
        self._loop = loop = asyncio.get_running_loop()
        self._task = task = loop.create_task(work)
        task.add_done_callback(self._wake)
        if self.end is not None:
            self._cancel(task)
        cancelled = False
        try:
            await self._until_ended()
        except asyncio.CancelledError:
            cancelled = True
            self.stop(End.CANCELLED)
            with anyio.CancelScope(shield=True):
                while not (task.done() or self._abandoned):
                    try:
                        await self._until_ended()
                    except asyncio.CancelledError:  # a native cancel passes a shield: go on waiting
                        continue
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._watch is not None and not self._watch.done():
                self._watch.cancel()
                with anyio.CancelScope(shield=True):
                    await asyncio.wait({self._watch}, timeout=1)
            raises = not cancelled and (self.end is None or self.end.client_is_there)
            self._report(task, raises)
            self._task = None  # its exception holds frames, and those hold us
            self._over = True
        if self.end is None or self.end.client_is_there:
            if not task.done():
                raise BrokenTransfer("the generator did not end, and its answer neither")
            if self.end is not None and task.cancelled():
                raise BrokenTransfer("the answer was ended before it was whole")
            try:
                task.result()
            finally:
                del task  # and they hold this one

    def watch(self) -> None:
        """Begin to watch for the client's disconnect, if that is not being done already."""
        if self._watch is None and self._until_gone is not None:
            self._watch = asyncio.create_task(self._until_disconnect(self._until_gone))

    def stop(self, end: End) -> None:
        """End the work because of `end`, or as soon as it runs; only the first reason counts."""
        task = self._task
        if self.end is not None or self._over or (task is not None and task.done()):
            return
        self.end = end
        if task is not None:
            self._cancel(task)

    def _cancel(self, task: asyncio.Task[None]) -> None:
        self._timer = self._loop.call_later(self._timeout, self._insist, task)
        if inspect.getcoroutinestate(self._work) == inspect.CORO_CREATED:
            # Before its first step it would not even tell of the end.
            self._loop.call_soon(task.cancel)
        else:
            task.cancel()

    def _insist(self, task: asyncio.Task[None]) -> None:
        logger.warning(
            "a generator's cleanup lasts longer than %g s: cancelled again", self._timeout
        )
        self._timer = self._loop.call_later(self._timeout, self._abandon)
        task.cancel()

    def _abandon(self) -> None:
        self._abandoned = True
        self._wake()

    async def _until_disconnect(self, until_gone: Callable[[], Awaitable[None]]) -> None:
        try:
            await until_gone()
        except Exception:  # a server that raises instead of giving the message
            logger.debug("receive failed; taken for a disconnect", exc_info=True)
        self.stop(End.DISCONNECTED)

    def _until_ended(self) -> asyncio.Future[None]:
        self._waiter = waiter = self._loop.create_future()
        if self._task is None or self._task.done() or self._abandoned:
            waiter.set_result(None)
        return waiter

    def _wake(self, _task: object = None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _report(self, task: asyncio.Task[None], raises: bool) -> None:
        """Log what went wrong, unless `run` is about to raise it."""
        if not task.done():
            logger.error("a generator did not end on two cancellations and is abandoned: %r", task)
        elif not task.cancelled() and (error := task.exception()) and not raises:
            why = (self.end or End.CANCELLED).value
            logger.error("a generator failed when it was ended: %s", why, exc_info=error)
