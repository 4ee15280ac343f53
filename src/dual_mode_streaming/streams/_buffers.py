"""Between a producer and a slower reader: bounds of items and bytes, and what gives when full."""

import enum
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import aclosing
from typing import Any, Generic, TypeVar

from dual_mode_streaming.errors import StreamOverflow
from dual_mode_streaming.streams._handoff import Handoff, read
from dual_mode_streaming.streams._scope import Pumps, Scope, Sink, Stream

__all__ = ["TURN", "BufferedStream", "Held", "Losses", "Overflow", "buffer", "buffered"]

T = TypeVar("T")

TURN = 64
"""A pump that never has to wait for room lets the loop go round after so many items."""


class Overflow(enum.Enum):
    """What happens to an item that comes when the buffer is full."""

    BLOCK = "block"
    """The producer waits. Nothing is lost."""
    DROP_OLDEST = "drop_oldest"
    """The oldest held items give way to it (Akka's dropHead)."""
    DROP_NEWEST = "drop_newest"
    """It is dropped itself (Akka's dropNew)."""
    COALESCE = "coalesce"
    """It is combined with the newest that is held; by default it takes its place."""
    ERROR = "error"
    """The reader gets what is held, and then a StreamOverflow (Akka's fail)."""
    DISCONNECT = "disconnect"
    """The reader gets a StreamOverflow at once, and nothing more."""


class Losses:
    """What has been dropped on the way to one reader."""

    __slots__ = ("count", "untold")

    def __init__(self) -> None:
        self.count = 0  # in all
        self.untold = 0  # since the reader was last told

    def add(self, count: int) -> None:
        """Count what has just been dropped."""
        self.count += count
        self.untold += count

    def tell(self) -> int:
        """What was dropped since this was last asked."""
        untold, self.untold = self.untold, 0
        return untold


class BufferedStream(Stream[T]):
    """A stream that may lose items on the way, and counts them."""

    __slots__ = ("losses",)

    def __init__(self, items: AsyncGenerator[T, None], scope: Scope, losses: Losses) -> None:
        super().__init__(items, scope)
        self.losses = losses

    @property
    def dropped(self) -> int:
        """How many items have been dropped so far."""
        return self.losses.count


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
    """The same items; the source runs ahead of the reader while there is room, in its own task.

    In: a stream. Out: its items, less those that `overflow` gives up. `.dropped` counts these, and
    `on_drop(count)` makes an item that tells the reader, given before the next that is left.

    Bound: `maxsize` items are pulled and not delivered, and `max_bytes` if given, by `size_of`
    (which is there for bytes and str; an item is measured when it has been pulled, so with BLOCK
    the last one may pass the bound, and a single item is always let in).
    With COALESCE, `coalesce(held, new)` makes one item of two; without it the newer one remains and
    the other counts as dropped.
    On error: what is held is delivered, then the error is raised as it is.
    On early exit: the source is closed by the task that read it.
    """
    return buffered(stream, Losses(), maxsize, max_bytes, overflow, size_of, coalesce, on_drop)


def buffered(
    stream: AsyncIterable[T],
    losses: Losses,
    maxsize: int,
    max_bytes: int | None,
    overflow: Overflow,
    size_of: Callable[[T], int] | None,
    coalesce: Callable[[T, T], T] | None,
    on_drop: Callable[[int], T] | None,
) -> BufferedStream[T]:
    """`buffer`, with the losses counted in `losses`."""
    pumps = Pumps(stream)
    if overflow is Overflow.BLOCK and max_bytes is None:
        return BufferedStream(read(pumps, Handoff(pumps, [stream], maxsize)), pumps, losses)
    held = Held(maxsize, max_bytes, overflow, losses, size_of=size_of, coalesce=coalesce)

    async def run() -> AsyncGenerator[T, None]:
        async with pumps:
            pumps.pump(stream, held, 1, held.room)
            async with aclosing(held.read(on_drop)) as items:
                async for item in items:
                    yield item

    return BufferedStream(run(), pumps, losses)


class Held(Sink, Generic[T]):
    """The items that are on hold under a policy, for one reader."""

    def __init__(
        self,
        maxsize: int,
        max_bytes: int | None,
        overflow: Overflow,
        losses: Losses,
        *,
        size_of: Callable[[T], int] | None = None,
        coalesce: Callable[[T, T], T] | None = None,
    ) -> None:
        if maxsize < 1 or (max_bytes is not None and max_bytes < 1):
            raise ValueError("a buffer must hold at least 1 item, and 1 byte")
        super().__init__()
        self.append = self.put
        self.done = False
        self._items: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._maxsize = maxsize
        self._max_bytes = max_bytes
        self._overflow = overflow
        self._losses = losses
        self._size_of = (size_of or _size) if max_bytes is not None else _nothing
        self._coalesce = coalesce
        self._had_its_turn = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Take an item in, as the policy says. May raise StreamOverflow."""
        size = self._size_of(item)
        if self._overflow is not Overflow.BLOCK and self._full(size):
            match self._overflow:
                case Overflow.DROP_OLDEST:
                    while self._full(size):
                        self._bytes -= self._items.popleft()[1]
                        self._losses.add(1)
                case Overflow.DROP_NEWEST:
                    self._losses.add(1)
                    return
                case Overflow.COALESCE:
                    item, size = self._combine(item, size)
                case Overflow.DISCONNECT:
                    self._items.clear()
                    raise StreamOverflow("the reader was too slow, and is cut off")
                case _:
                    raise StreamOverflow("the buffer is full")
        self._items.append((item, size))
        self._bytes += size

    def take(self) -> T:
        """The oldest item."""
        item, size = self._items.popleft()
        self._bytes -= size
        return item

    def room(self) -> int:
        """How many items a pump may pull."""
        if self._overflow is Overflow.BLOCK:
            # The next item's size is not known yet: one at a time.
            has_room = len(self._items) < self._maxsize and self._bytes < (self._max_bytes or 1)
            return 1 if has_room else 0
        self._had_its_turn = not self._had_its_turn
        return 0 if self._had_its_turn else TURN

    def ended(self) -> None:
        self.done = True
        self.wake()

    async def read(self, on_drop: Callable[[int], T] | None = None) -> AsyncGenerator[T, None]:
        """The items one by one, so that what is given is as fresh as can be; then the error."""
        while True:
            if on_drop is not None and (count := self._losses.tell()):
                yield on_drop(count)
            elif self._items:
                item = self.take()
                if self.blocked:
                    self.unblock()
                yield item
            elif self.done:
                break
            else:
                await self.wait()
        self.check()

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
                self._losses.add(1)
            else:
                item = self._coalesce(held, item)
                size = self._size_of(item)
        return item, size


def _nothing(item: object) -> int:
    return 0


def _size(item: Any) -> int:
    match item:
        case bytes() | bytearray():
            return len(item)
        case memoryview():
            return item.nbytes
        case str():
            return len(item.encode())
    raise TypeError(f"max_bytes of {type(item).__name__} items needs size_of")
