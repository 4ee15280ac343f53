"""How long an answer is waited for: to its first event, between two, and for all of it."""

import asyncio
from collections.abc import AsyncIterator

from dual_mode_streaming.llm._events import StreamEvent
from dual_mode_streaming.llm._provider import ProviderError

__all__ = ["Patience"]


class Patience:
    """The limits of time of one answer, all in seconds from now.

    An answer has an event every few milliseconds, and hundreds of them are under way: so there is
    no timer for each event, as `asyncio.timeout` would set, and no task between, but one timer that
    looks, when it rings, whether anything came meanwhile. `close` stops it.
    """

    __slots__ = (
        "_ends",
        "_expired",
        "_idle",
        "_limit",
        "_loop",
        "_rings",
        "_timer",
        "_waits_till",
        "_who",
    )

    def __init__(self, *, first: float, idle: float, total: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = first
        self._idle = idle
        self._ends = float("inf") if total is None else self._loop.time() + total
        self._timer: asyncio.TimerHandle | None = None
        self._rings = float("inf")
        self._waits_till = 0.0
        self._who: asyncio.Task[object] | None = None  # waits now
        self._expired = False

    async def next(self, events: AsyncIterator[StreamEvent]) -> StreamEvent:
        """The next event; for a task of its own choice, which reads the events itself.

        Raises ProviderError: a timeout, or stream_truncated where there is no next event.
        """
        who = asyncio.current_task()
        assert who is not None
        before = who.cancelling()
        self._waits_till = min(self._loop.time() + self._limit, self._ends)
        if self._waits_till < self._rings:
            self._ring_at(self._waits_till)
        self._who = who
        try:
            event = await anext(events)
        except BaseException as error:
            if not self._expired:
                if isinstance(error, StopAsyncIteration):
                    raise ProviderError("the answer broke off", "stream_truncated") from None
                raise
        else:
            if not self._expired:
                self._limit = self._idle
                return event
        finally:
            self._who = None
        if who.uncancel() > before:  # somebody else has cancelled it, too
            raise asyncio.CancelledError
        if self._waits_till == self._ends:
            raise ProviderError("the answer took longer than it may", "timeout")
        raise ProviderError(f"nothing came for {self._limit:g} s", "timeout")

    def close(self) -> None:
        """Wait no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _ring_at(self, when: float) -> None:
        self.close()
        self._rings = when
        self._timer = self._loop.call_at(when, self._ring)

    def _ring(self) -> None:
        self._rings = float("inf")
        if self._who is None:
            return  # between two events; the next one sets it
        if self._waits_till > self._loop.time():
            self._ring_at(self._waits_till)
        else:
            self._expired = True
            self._who.cancel()
