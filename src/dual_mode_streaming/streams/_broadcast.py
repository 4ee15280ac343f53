"""`Broadcast`: one producer for any number of subscribers who come and go."""

import contextvars
from collections.abc import AsyncIterable, Callable
from typing import Generic, TypeVar

from dual_mode_streaming.streams._buffers import BufferedStream, Overflow
from dual_mode_streaming.streams._fanout import Fanout

__all__ = ["Broadcast"]

T = TypeVar("T")


class Broadcast(Generic[T]):
    """Gives the items of one source to any number of subscribers, each as fast as it reads.

    In: a stream, or a function that makes one. The source is started when a subscriber first reads,
    and read by one task, in the context in which the broadcast was made. With `stop_after_last` it
    is closed when the last subscriber leaves; if it was given as a function, the next subscriber
    starts it anew. Otherwise it runs on.

    Bound: a subscriber that is `maxsize` items behind loses the oldest, or what `overflow` says.
    One that is slow or fails harms nobody; only BLOCK makes the producer, and so all, wait for it.
    `history` items are kept, and a subscriber begins with them.
    On error: every subscriber gets it, after the items before it; also those who come later.
    On early exit: a subscriber that is closed leaves. `aclose()` or `async with` ends the
    broadcast: the source is closed, by the task that read it, and the subscribers end.
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
            raise ValueError("maxsize must be at least 1, and history not negative")
        self._source = source
        self._maxsize = maxsize
        self._overflow = overflow
        self._history = history
        self._stop_after_last = stop_after_last
        self._closed = False
        self._dropped = 0  # by the fanouts before this one
        self._context = contextvars.copy_context()  # not that of the reader who happens to be first
        self._fanout = self._new_fanout()

    @property
    def subscribers(self) -> int:
        """How many there are now."""
        return len(self._fanout.places)

    @property
    def depth(self) -> int:
        """How many items the slowest subscriber has yet to read."""
        fanout = self._fanout
        return max((fanout.head - place.next for place in fanout.places), default=0)

    @property
    def dropped(self) -> int:
        """How many items subscribers have missed for being slow, in all."""
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
        """A stream of what comes from now on, after the history; the rest is as in `buffer`.

        Close it to leave. One that is dropped without being read leaves too.
        """
        gone = self._fanout.abandoned and not self._closed
        if gone and not isinstance(self._source, AsyncIterable):
            self._dropped += self._fanout.dropped
            self._fanout = self._new_fanout()
        return self._fanout.subscribe(
            self._maxsize if maxsize is None else maxsize,
            self._overflow if overflow is None else overflow,
            max_bytes=max_bytes,
            size_of=size_of,
            coalesce=coalesce,
            on_drop=on_drop,
        )

    async def aclose(self) -> None:
        """Close the source; the subscribers get what is on its way to them, and the end."""
        self._closed = True
        await self._fanout.aclose()

    async def __aenter__(self) -> "Broadcast[T]":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def _new_fanout(self) -> Fanout[T]:
        return Fanout(
            self._source,
            history=self._history,
            stop_after_last=self._stop_after_last,
            context=self._context.copy(),
        )
