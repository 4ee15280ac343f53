"""`buffer`: read ahead of a slower reader, bounded, with a policy for overflow."""

import enum
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from dual_mode_streaming.errors import StreamOverflow
from dual_mode_streaming.streams._chunks import ChunkedQueue, read
from dual_mode_streaming.streams._pumps import ItemBuffer, Pumps
from dual_mode_streaming.streams._scope import Scope, Stream

T = TypeVar("T")

YIELD_EVERY = 64
"""Items after which a pump that never has to wait yields to the event loop."""


class Overflow(enum.Enum):
    """What happens to an item that arrives when the buffer is full."""

    BLOCK = "block"
    """The producer waits. Nothing is lost."""
    DROP_OLDEST = "drop_oldest"
    """The oldest items in the buffer are dropped (Akka's dropHead)."""
    DROP_NEWEST = "drop_newest"
    """The new item is dropped (Akka's dropNew)."""
    COALESCE = "coalesce"
    """The new item is combined with the newest in the buffer; by default it replaces that."""
    ERROR = "error"
    """The reader gets the items in the buffer, then a StreamOverflow (Akka's fail)."""
    DISCONNECT = "disconnect"
    """The buffer is cleared, and the reader gets a StreamOverflow at once."""


class DropCount:
    """How many items were dropped on the way to one reader."""

    __slots__ = ("total", "unreported")

    def __init__(self) -> None:
        self.total = 0
        self.unreported = 0  # since the last `take_unreported`

    def add(self, count: int) -> None:
        """Count items that were just dropped."""
        self.total += count
        self.unreported += count

    def take_unreported(self) -> int:
        """Return how many were dropped since the last call."""
        unreported, self.unreported = self.unreported, 0
        return unreported


@dataclass(frozen=True, slots=True)
class BufferPolicy(Generic[T]):
    """The bounds of a buffer, and what happens when they are reached; see `buffer`."""

    maxsize: int = 64
    max_bytes: int | None = None
    overflow: Overflow = Overflow.BLOCK
    size_of: Callable[[T], int] | None = None
    coalesce: Callable[[T, T], T] | None = None
    on_drop: Callable[[int], T] | None = None

    def __post_init__(self) -> None:
        for name in ("maxsize", "max_bytes"):
            bound = getattr(self, name)
            if bound is not None and bound < 1:
                raise ValueError(f"{name} must be at least 1, not {bound}")


class BufferedStream(Stream[T]):
    """A stream that may drop items, and counts them."""

    __slots__ = ("_drops",)

    def __init__(self, items: AsyncGenerator[T, None], scope: Scope, drops: DropCount) -> None:
        super().__init__(items, scope)
        self._drops = drops

    @property
    def dropped(self) -> int:
        """How many items have been dropped so far."""
        return self._drops.total


def buffer(
    stream: AsyncIterable[T],
    maxsize: int = 64,
    max_bytes: int | None = None,
    overflow: Overflow = Overflow.BLOCK,
    *,
    size_of: Callable[[T], int] | None = None,
    coalesce: Callable[[T, T], T] | None = None,
    on_drop: Callable[[int], T] | None = None,
) -> BufferedStream[T]:
    """Let a source run ahead of its reader, in a task of its own, until the buffer is full.

    In: a stream. Out: its items, without those that `overflow` drops. `.dropped` counts the dropped
    items. `on_drop(count)` makes an item that reports them, delivered before the next item.

    Bound: `maxsize` items are pulled and not delivered. If `max_bytes` is given, it is a bound of
    their sizes as well. An item is measured after it was pulled, so with BLOCK the last item may
    exceed that bound, and a single item is always accepted.
    On error: the items in the buffer are delivered, then the error is raised as it is.
    On early exit: the source is closed by the task that read it.

    Args:
        stream: the source.
        maxsize: the bound in items.
        max_bytes: the bound in bytes, if any.
        overflow: what happens to an item that arrives when the buffer is full.
        size_of: the size of an item in bytes; the default knows bytes and str (in UTF-8).
        coalesce: with COALESCE, `coalesce(held, new)` makes one item of two. Without it the newer
            item remains, and the other counts as dropped.
        on_drop: makes the item that reports dropped items.

    Raises:
        ValueError: a bound is below 1.
    """
    policy = BufferPolicy(maxsize, max_bytes, overflow, size_of, coalesce, on_drop)
    return buffered(stream, policy, DropCount())


def buffered(
    stream: AsyncIterable[T], policy: BufferPolicy[T], drops: DropCount
) -> BufferedStream[T]:
    """Return `buffer(...)` that counts in `drops`."""
    pumps = Pumps(stream)
    if policy.overflow is Overflow.BLOCK and policy.max_bytes is None:
        queue = ChunkedQueue(pumps, [stream], policy.maxsize)
        return BufferedStream(read(pumps, queue), pumps, drops)
    held = OverflowBuffer(policy, drops)

    async def run() -> AsyncGenerator[T, None]:
        async with pumps:
            pumps.pump(stream, held, 1, held.demand)
            async with aclosing(held.read()) as items:
                async for item in items:
                    yield item

    return BufferedStream(run(), pumps, drops)


class OverflowBuffer(ItemBuffer, Generic[T]):
    """Items for one reader, read one by one, with a policy for overflow."""

    def __init__(self, policy: BufferPolicy[T], drops: DropCount) -> None:
        super().__init__()
        self.append = self.put
        self.done = False
        self._items: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._maxsize = policy.maxsize
        self._max_bytes = policy.max_bytes
        self._overflow = policy.overflow
        self._drops = drops
        self._size_of = _no_size if policy.max_bytes is None else policy.size_of or _size
        self._coalesce = policy.coalesce
        self._on_drop = policy.on_drop
        self._yielded = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Add an item, or drop or combine as the policy says. May raise StreamOverflow."""
        size = self._size_of(item)
        if self._overflow is not Overflow.BLOCK and self._full(size):
            match self._overflow:
                case Overflow.DROP_OLDEST:
                    while self._full(size):
                        self._bytes -= self._items.popleft()[1]
                        self._drops.add(1)
                case Overflow.DROP_NEWEST:
                    self._drops.add(1)
                    return
                case Overflow.COALESCE:
                    item, size = self._combine(item, size)
                case Overflow.DISCONNECT:
                    self._items.clear()
                    raise StreamOverflow("the reader was too slow and was disconnected")
                case _:
                    raise StreamOverflow("the buffer is full")
        self._items.append((item, size))
        self._bytes += size

    def take(self) -> T:
        """Remove and return the oldest item."""
        item, size = self._items.popleft()
        self._bytes -= size
        return item

    def demand(self) -> int:
        """Return how many items a pump may pull."""
        if self._overflow is Overflow.BLOCK:
            # The size of the next item is not known: pull one at a time.
            has_room = len(self._items) < self._maxsize and self._bytes < (self._max_bytes or 1)
            return 1 if has_room else 0
        self._yielded = not self._yielded
        return 0 if self._yielded else YIELD_EVERY

    def pump_ended(self) -> None:
        self.done = True
        self.wake()

    async def read(self) -> AsyncGenerator[T, None]:
        """Yield the items, each as fresh as possible; then raise the error."""
        while True:
            if self._on_drop is not None and (count := self._drops.take_unreported()):
                yield self._on_drop(count)
            elif self._items:
                item = self.take()
                if self.blocked:
                    self.unblock()
                yield item
            elif self.done:
                break
            else:
                await self.wait()
        self.raise_error()

    def _full(self, size: int) -> bool:
        if len(self._items) >= self._maxsize:
            return True
        limit = self._max_bytes
        return limit is not None and bool(self._items) and self._bytes + size > limit

    def _combine(self, item: T, size: int) -> tuple[T, int]:
        while self._full(size):
            held, held_size = self._items.pop()
            self._bytes -= held_size
            if self._coalesce is None:
                self._drops.add(1)
            else:
                item = self._coalesce(held, item)
                size = self._size_of(item)
        return item, size


def _no_size(item: object) -> int:
    return 0


def _size(item: Any) -> int:
    match item:
        case bytes() | bytearray():
            return len(item)
        case memoryview():
            return item.nbytes
        case str():
            return len(item.encode())
    raise TypeError(f"max_bytes needs size_of for items of type {type(item).__name__}")
