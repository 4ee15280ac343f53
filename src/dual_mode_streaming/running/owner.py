"""The task that owns a generator from the first `anext` to `aclose`: started, watched and ended.

To end it early, it is cancelled **once**, so that the awaits in the generator's `finally` complete.
The wait for it is shielded from outer cancel scopes. After `cleanup_timeout` it is cancelled a
second time. After the same time once more it is abandoned, and an error is logged.
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
    """The reason for which an answer was ended from outside."""

    DISCONNECTED = "the client disconnected"
    STALLED = "the client read nothing within the send timeout"
    CANCELLED = "the request was cancelled"
    TOO_LONG = "the answer took too long"
    IDLE = "no item arrived within the idle timeout"
    EXPIRED = "the credentials have expired"
    DRAINING = "the server is shutting down"
    STOPPED = "the stream was cancelled"
    SUPERSEDED = "another writer has taken over the stream"

    @property
    def client_is_there(self) -> bool:
        """Whether the connection still works, so that the answer can say why it ended."""
        return self in _CLIENT_IS_THERE


_CLIENT_IS_THERE = frozenset({End.TOO_LONG, End.IDLE, End.EXPIRED, End.DRAINING})


class Owner:
    """Run one answer in a task of its own, and end it in an orderly way if it must end early.

    The task of the request awaits `run`. `watch` and `stop` may be called from anywhere in the
    event loop.

    Args:
        cleanup_timeout: the time in seconds that a cancelled generator has for its cleanup.
        until_gone: an async function that returns True when the client has disconnected, and False
            if that cannot be noticed; None if there is no client. An error that it raises is
            logged, and the answer goes on.

    Attributes:
        end: the reason for which the answer was stopped; None if it was not.
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
        self, cleanup_timeout: float, until_gone: Callable[[], Awaitable[bool]] | None = None
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

    def is_closed_by(self, error: BaseException) -> bool:
        """Return whether an error of the work is the end of its coroutine, not its own failure.

        A task that nobody awaits any more is closed from outside, with a GeneratorExit.
        """
        try:
            within = asyncio.current_task() is self._task
        except RuntimeError:  # no event loop runs
            within = False
        return isinstance(error, GeneratorExit) and not within

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` until it is done or abandoned.

        A cancellation of the caller stops the work, waits for it, and is raised again.

        Raises:
            BrokenTransfer: the client is there, but the work was abandoned or was cancelled.
            Exception: what `work` raises, if the client is there; else it is logged.
        """
        # The cancel scopes around the request do not reach a new task, so they cannot interrupt the
        # generator's cleanup. Its context is a copy of the request's.
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
                    except asyncio.CancelledError:  # anyio's shield does not stop Task.cancel()
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
            self._task = self._watch = self._until_gone = None  # their exceptions hold this object
            self._over = True
        if self.end is None or self.end.client_is_there:
            if not task.done():
                raise BrokenTransfer("the generator did not end when it was cancelled")
            if self.end is not None and task.cancelled():
                raise BrokenTransfer("the answer was ended before it was complete")
            try:
                task.result()
            finally:
                del task  # the frames of its exception hold this frame

    def watch(self) -> None:
        """Start watching for the client's disconnect, unless that has been started."""
        if self._watch is None and self._until_gone is not None:
            self._watch = asyncio.create_task(self._until_disconnect(self._until_gone))

    def stop(self, end: End) -> None:
        """End the work for the reason `end`; only the first call has an effect.

        Work that has not started yet is ended as soon as it starts.
        """
        task = self._task
        if self.end is not None or self._over or (task is not None and task.done()):
            return
        self.end = end
        if task is not None:
            self._cancel(task)

    def _cancel(self, task: asyncio.Task[None]) -> None:
        self._timer = self._loop.call_later(self._timeout, self._insist, task)
        if inspect.getcoroutinestate(self._work) == inspect.CORO_CREATED:
            # A task cancelled before its first step never runs, and could not report the end.
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

    async def _until_disconnect(self, until_gone: Callable[[], Awaitable[bool]]) -> None:
        try:
            if await until_gone():
                self.stop(End.DISCONNECTED)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and _task_is_cancelled():
                raise  # the answer has ended
            logger.warning(
                "`receive` failed; the answer goes on, but a disconnect of its client may go"
                " unnoticed",
                exc_info=error,
            )

    def _until_ended(self) -> asyncio.Future[None]:
        self._waiter = waiter = self._loop.create_future()
        if self._task is None or self._task.done() or self._abandoned:
            waiter.set_result(None)
        return waiter

    def _wake(self, _task: object = None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _report(self, task: asyncio.Task[None], raises: bool) -> None:
        """Log an abandoned task, or an error that `run` does not raise."""
        if not task.done():
            logger.error("a generator did not end on two cancellations and is abandoned: %r", task)
        elif not task.cancelled() and (error := task.exception()) and not raises:
            why = (self.end or End.CANCELLED).value
            logger.error("a generator failed when it was ended: %s", why, exc_info=error)


def _task_is_cancelled() -> bool:
    """Return whether the current task was asked to end; no caller's frame then holds the task."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
