"""The times after which an answer is ended by us, whatever its source and its reader do."""

import asyncio

from dual_mode_streaming.running.owner import End, Owner
from dual_mode_streaming.web._options import Options

__all__ = ["Deadlines"]


class Deadlines:
    """The longest an answer may last, may go without an item, and may wait for its reader.

    They run from `start` to `stop`; `item` says that one has just left, `full` that the connection
    takes nothing now, and `room` that it does again, or that nothing is to be sent any more.
    """

    __slots__ = (
        "_idle_timer",
        "_last_item",
        "_loop",
        "_options",
        "_owner",
        "_stall_timer",
        "_whole_timer",
    )

    def __init__(self, options: Options, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self._options = options
        self._owner = owner
        self._loop = loop
        self._last_item = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._whole_timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to count."""
        if (duration := self._options.duration()) is not None:
            self._whole_timer = self._loop.call_later(duration, self._owner.stop, End.TOO_LONG)
        if self._options.idle_timeout is not None:
            self._last_item = self._loop.time()
            self._look(self._options.idle_timeout)

    def item(self, now: float) -> None:
        """An item has left at that time of the loop."""
        self._last_item = now

    def full(self) -> None:
        """A send waits for the connection, whose buffers are full."""
        if self._stall_timer is None:
            timeout = self._options.send_timeout
            self._stall_timer = self._loop.call_later(timeout, self._owner.stop, End.STALLED)

    def room(self) -> bool:
        """A send is over. Out: whether it had to wait."""
        if self._stall_timer is None:
            return False
        self._stall_timer.cancel()
        self._stall_timer = None
        return True

    def stop(self) -> None:
        """Count no more."""
        for timer in (self._whole_timer, self._idle_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()

    def _look(self, limit: float) -> None:
        left = self._last_item + limit - self._loop.time()
        if left <= 0:
            self._owner.stop(End.IDLE)
        else:
            self._idle_timer = self._loop.call_later(left, self._look, limit)
