"""`Broadcast`: one producer for any number of subscribers that come and go."""

import asyncio
import contextvars
from asyncio import events
from collections.abc import AsyncIterable, Callable
from typing import Generic, TypeVar

from dual_mode_streaming.streams._buffers import BufferedStream, BufferPolicy, Overflow
from dual_mode_streaming.streams._fanout import Fanout

T = TypeVar("T")


class Broadcast(Generic[T]):
    """Gives the items of one source to any number of subscribers, each at its own speed.

    In: a stream, or a function that makes one. One task reads it, from the moment a subscriber
    first reads, in the context in which the broadcast was made. With `stop_after_last` it is closed
    when the last subscriber leaves; if it was given as a function, the next subscriber starts it
    again. Otherwise it keeps running. A function is also called again in another event loop, and
    when the broadcast is entered again (`async with`) after it was closed.
    Out: `subscribe()` returns a stream that begins with the last `history` items.

    It lives in one process and forgets. What happens in another worker, or while a subscriber is
    away, reaches it through a `Channel`.

    Bound: a subscriber that is `maxsize` items behind loses the oldest, or what `overflow` says. A
    slow or failing subscriber does not affect the others, except with BLOCK: then the producer, and
    so every subscriber, waits for it.
    On error: every subscriber gets the error after the items before it, also those that come later.
    On early exit: a subscriber that is closed leaves. `aclose()` or `async with` ends the
    broadcast: the source is closed by the task that read it, and the subscribers end.

    Args:
        source: a stream, or a function without arguments that returns one.
        maxsize: the bound of each subscriber, in items.
        overflow: what happens at the bound.
        history: how many past items are kept for new subscribers.
        stop_after_last: close the source when the last subscriber leaves.

    Raises:
        ValueError: `maxsize` is below 1 or `history` is negative.
    """

    def __init__(
        self,
        source: AsyncIterable[T] | Callable[[], AsyncIterable[T]],
        *,
        maxsize: int = 64,
        overflow: Overflow = Overflow.DROP_OLDEST,
        history: int = 0,
        stop_after_last: bool = False,
    ) -> None:
        if maxsize < 1 or history < 0:
            raise ValueError(
                f"maxsize must be at least 1 and history at least 0, not {maxsize} and {history}"
            )
        self._source = source
        self._maxsize = maxsize
        self._overflow = overflow
        self._history = history
        self._stop_after_last = stop_after_last
        self._closed = False
        self._dropped = 0  # by the earlier fanouts
        self._context = contextvars.copy_context()
        self._fanout = self._new_fanout()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def subscribers(self) -> int:
        """How many subscribers there are now."""
        return len(self._fanout.positions)

    @property
    def depth(self) -> int:
        """How many items the slowest subscriber is behind."""
        fanout = self._fanout
        return max((fanout.head - position.next for position in fanout.positions), default=0)

    @property
    def dropped(self) -> int:
        """How many items slow subscribers have missed, in total."""
        return self._dropped + self._fanout.dropped

    def subscribe(
        self,
        *,
        maxsize: int | None = None,
        overflow: Overflow | None = None,
        max_bytes: int | None = None,
        size_of: Callable[[T], int] | None = None,
        coalesce: Callable[[T, T], T] | None = None,
        on_drop: Callable[[int], T] | None = None,
    ) -> BufferedStream[T]:
        """Return a stream of the history and of what comes from now on.

        `maxsize` and `overflow` default to those of the broadcast; the others are as in `buffer`.
        Close the stream to leave. A stream that is dropped without being read leaves too.
        """
        loop = events._get_running_loop()
        moved = self._loop is not None and loop is not self._loop
        self._loop = loop or self._loop
        if (self._fanout.abandoned or moved) and not self._closed:
            self._restart()
        return self._fanout.subscribe(
            BufferPolicy(
                self._maxsize if maxsize is None else maxsize,
                max_bytes,
                self._overflow if overflow is None else overflow,
                size_of,
                coalesce,
                on_drop,
            )
        )

    async def aclose(self) -> None:
        """Close the source. The subscribers get the items that were pulled, then the end."""
        self._closed = True
        await self._fanout.aclose()

    async def __aenter__(self) -> "Broadcast[T]":
        if self._closed and not isinstance(self._source, AsyncIterable):
            self._closed = False
            self._restart()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def _restart(self) -> None:
        """Let the next reader start the source again, if it was given as a function."""
        if not isinstance(self._source, AsyncIterable):
            self._dropped += self._fanout.dropped
            self._fanout = self._new_fanout()

    def _new_fanout(self) -> Fanout[T]:
        return Fanout(
            self._source,
            history=self._history,
            stop_after_last=self._stop_after_last,
            context=self._context.copy(),
        )
