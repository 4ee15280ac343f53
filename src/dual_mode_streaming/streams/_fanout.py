"""Fan-out: one pump and one shared list for many readers, each with its own position in it."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextvars import Context
from operator import length_hint
from typing import Generic, TypeVar

from dual_mode_streaming.errors import StreamOverflow
from dual_mode_streaming.streams._buffers import (
    YIELD_EVERY,
    BufferedStream,
    BufferPolicy,
    DropCount,
    Overflow,
    buffered,
)
from dual_mode_streaming.streams._chunks import read
from dual_mode_streaming.streams._pumps import ItemBuffer, Pumps
from dual_mode_streaming.streams._scope import Scope, Stream

T = TypeVar("T")


class Fanout(ItemBuffer, Generic[T]):
    """The items of one source, kept as long as a reader may still take them.

    A source that is a function is called when the first reader starts. The pump runs in `context`,
    or that of the first reader.
    """

    def __init__(
        self,
        source: AsyncIterable[T] | Callable[[], AsyncIterable[T]],
        *,
        history: int = 0,
        stop_after_last: bool = True,
        context: Context | None = None,
    ) -> None:
        super().__init__()
        self.items: list[T] = []
        self.append = self.items.append
        self.base = 0  # the number of the first item in the list
        self.positions: set[_ReaderPosition[T]] = set()
        self.dropped = 0  # items that slow readers have missed, in total
        self.done = False
        self.abandoned = False  # the last reader has left and the source is closed
        self._source = source
        self._pumps = Pumps(context=context)
        if isinstance(source, AsyncIterable) or not callable(source):
            self._pumps.own(source)
        self._started = False
        self._history = history
        self._stop_after_last = stop_after_last
        self._changed = False  # readers have come or gone since the next two were computed
        self._blocking: list[_ReaderPosition[T]] = []
        self._keep = history  # how many items are kept for the readers that do not block
        self.full: set[_ReaderPosition[T]] = set()  # the readers that the pump waits for
        self._yielded = False

    def subscribe(self, policy: BufferPolicy[T]) -> BufferedStream[T]:
        """Return a new reader that begins with the history."""
        drops = DropCount()
        blocking = policy.overflow is Overflow.BLOCK
        lossy = policy.overflow in (Overflow.DROP_OLDEST, Overflow.DISCONNECT)
        direct = policy.max_bytes is None and (blocking or lossy)
        # For every other policy a second buffer stands between the list and the reader. It applies
        # the policy, and reads each item at once.
        maxsize = policy.maxsize if direct else max(policy.maxsize, 2 * YIELD_EVERY)
        first = max(self.base, self.head - self._history)
        position = _ReaderPosition(self, first, maxsize, blocking)
        scope = _ReaderScope(position)
        if blocking:
            items = read(scope, position)
        else:
            items = _read_newest(position, scope, drops, policy if direct else BufferPolicy())
        if direct:
            return BufferedStream(items, scope, drops)
        return buffered(Stream(items, scope), policy, drops)

    @property
    def head(self) -> int:
        """The number of the next item to come."""
        return self.base + len(self.items)

    def start(self) -> None:
        """Start the pump, if it is not running."""
        if not self._started and not self.abandoned:
            self._started = True
            try:
                source = self._source if isinstance(self._source, AsyncIterable) else self._source()
            except Exception as error:
                self.fail(error)
                self.pump_ended()
            else:
                self._pumps.pump(source, self, 1, self._demand)

    def _demand(self) -> int:
        """Drop the items that all have read; return what the slowest blocking reader can take."""
        if self._changed:
            self._changed = False
            self._blocking = [position for position in self.positions if position.blocking]
            lossy = [position.maxsize for position in self.positions if not position.blocking]
            self._keep = max(self._history, *lossy, 0)
        head = self.base + len(self.items)
        slowest, until = head, head + YIELD_EVERY
        for position in self._blocking:
            slowest = min(slowest, position.next)
            until = min(until, position.next + position.maxsize)
        if (spent := min(slowest, head - self._keep) - self.base) > 0:
            del self.items[:spent]
            self.base += spent
        if not self._blocking:
            self._yielded = not self._yielded
            return 0 if self._yielded else YIELD_EVERY
        if until <= head:
            self.full = {p for p in self._blocking if head - p.next >= p.maxsize}
            return 0
        return until - head

    def add(self, position: "_ReaderPosition[T]") -> None:
        """Add a reader."""
        self.positions.add(position)
        self._changed = True

    def advanced(self, position: "_ReaderPosition[T]") -> None:
        """A reader has taken items: let the pump continue if no reader is full any more."""
        if self.full:
            self.full.discard(position)
            if not self.full:
                self.unblock()

    def remove(self, position: "_ReaderPosition[T]") -> bool:
        """Remove a reader. Return True if it was the last, and the source is to be closed."""
        if position not in self.positions:
            return False
        self.positions.discard(position)
        self._changed = True
        self.advanced(position)
        if self.positions or not self._stop_after_last:
            return False
        self.abandoned = True
        return True

    def pump_ended(self) -> None:
        self.done = True
        self.wake()

    def stop(self) -> None:
        """Cancel the pump, without waiting for it."""
        self._pumps.stop()

    async def aclose(self) -> None:
        """Close the source and end the readers."""
        await self._pumps.aclose()
        self.abandoned = True
        self.pump_ended()


class _ReaderPosition(Generic[T]):
    """The position of a reader: `next` is the number of its next item. A `ChunkSource`."""

    __slots__ = ("_chunk_size", "_count", "_items", "blocking", "fanout", "maxsize", "next")

    def __init__(self, fanout: Fanout[T], first: int, maxsize: int, blocking: bool) -> None:
        self.fanout = fanout
        self.next = first
        self.maxsize = maxsize
        self.blocking = blocking
        self._items = fanout.items
        self._chunk_size = max(1, maxsize // 2)
        self._count = 0  # items taken and not delivered

    @property
    def finished(self) -> bool:
        return self.fanout.done

    def start(self) -> None:
        self.fanout.start()

    def take(self) -> list[T]:
        """Return the next items, at most half the bound. They stay in the shared list."""
        begin = self.next - self.fanout.base
        chunk = self._items[begin : begin + self._chunk_size]
        self._count = len(chunk)
        return chunk

    def deliver(self) -> None:
        """Move past what was taken."""
        self.next += self._count
        if self.fanout.full:
            self.fanout.advanced(self)

    async def wait(self) -> None:
        await self.fanout.wait()

    def raise_error(self) -> None:
        self.fanout.raise_error()


class _ReaderScope(Scope):
    """Removes one reader when it is closed or dropped, and closes the source after the last."""

    def __init__(self, position: _ReaderPosition[T]) -> None:
        super().__init__()
        self._position = position
        position.fanout.add(position)

    async def aclose(self) -> None:
        if self._position.fanout.remove(self._position):
            await self._position.fanout.aclose()

    def __del__(self) -> None:
        fanout = self._position.fanout
        if fanout.remove(self._position):  # it was dropped without being read
            try:
                fanout.stop()
            except RuntimeError:
                pass  # the event loop is closed, and no task runs any more


async def _read_newest(
    position: _ReaderPosition[T],
    scope: _ReaderScope,
    drops: DropCount,
    policy: BufferPolicy[T],
) -> AsyncGenerator[T, None]:
    """Yield the items; a reader more than its bound behind skips the oldest, or is disconnected."""
    fanout, number, maxsize = position.fanout, position.next, position.maxsize
    items = fanout.items
    async with scope:
        fanout.start()
        while True:
            head = fanout.head
            behind = head - number
            if behind > maxsize:
                if policy.overflow is Overflow.DISCONNECT:
                    raise StreamOverflow("the reader was too slow and was disconnected")
                drops.add(behind - maxsize)
                fanout.dropped += behind - maxsize
                number = position.next = head - maxsize
                if policy.on_drop is not None:
                    yield policy.on_drop(drops.take_unreported())
            elif behind:
                chunk = iter(items[number - fanout.base :])
                for item in chunk:
                    yield item
                    if fanout.base + len(items) != head:  # new items: check the bound
                        break
                number = position.next = head - length_hint(chunk)
            elif fanout.done:
                break
            else:
                await fanout.wait()
        fanout.raise_error()
