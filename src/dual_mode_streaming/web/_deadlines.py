"""The deadlines of one answer: its duration, an idle source, a stalled client."""

import asyncio

from dual_mode_streaming.running.owner import End, Owner
from dual_mode_streaming.web._options import Options, duration_of


class Deadlines:
    """The timers that end an answer that takes too long, is idle, or has a stalled client.

    They run from `start` to `stop`. Call `item` when an item was sent, `send_blocked` when a send
    waits for the connection, and `send_done` when it has returned.
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
        """Start the timers."""
        if (duration := duration_of(self._options)) is not None:
            self._whole_timer = self._loop.call_later(duration, self._owner.stop, End.TOO_LONG)
        if self._options["idle_timeout"] is not None:
            self._last_item = self._loop.time()
            self._check_idle(self._options["idle_timeout"])

    def item(self, now: float) -> None:
        """Note that an item was sent at `now`, a time of the event loop."""
        self._last_item = now

    def send_blocked(self) -> None:
        """Note that a send waits, because the buffers of the connection are full."""
        if self._stall_timer is None:
            timeout = self._options["send_timeout"]
            self._stall_timer = self._loop.call_later(timeout, self._owner.stop, End.STALLED)

    def send_done(self) -> bool:
        """Note that a send has returned. Returns whether it had to wait."""
        if self._stall_timer is None:
            return False
        self._stall_timer.cancel()
        self._stall_timer = None
        return True

    def stop(self) -> None:
        """Stop the timers."""
        for timer in (self._whole_timer, self._idle_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()

    def _check_idle(self, limit: float) -> None:
        left = self._last_item + limit - self._loop.time()
        if left <= 0:
            self._owner.stop(End.IDLE)
        else:
            self._idle_timer = self._loop.call_later(left, self._check_idle, limit)
