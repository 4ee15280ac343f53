"""From one pump to many readers: each has its own place in one shared list."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextvars import Context
from operator import length_hint
from typing import Generic, TypeVar

from dual_mode_streaming.errors import StreamOverflow
from dual_mode_streaming.streams._buffers import TURN, BufferedStream, Losses, Overflow, buffered
from dual_mode_streaming.streams._scope import Pumps, Scope, Sink, Stream, turn

__all__ = ["Fanout"]

T = TypeVar("T")


class _Place:
    """Where a reader is: it has got all items before number `next`."""

    __slots__ = ("blocking", "maxsize", "next")

    def __init__(self, first: int, maxsize: int, blocking: bool) -> None:
        self.next = first
        self.maxsize = maxsize
        self.blocking = blocking


class Fanout(Sink, Generic[T]):
    """What one pump has pulled, as long as a reader may still ask for it."""

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
        self.base = 0  # the number of the first item of the list
        self.places: set[_Place] = set()
        self.dropped = 0  # for readers that were too slow, in all
        self.done = False
        self.abandoned = False  # the last reader has left, and the source with it
        self._source = source
        self._pumps = Pumps(context=context)
        if isinstance(source, AsyncIterable) or not callable(source):
            self._pumps.own(source)
        self._started = False
        self._history = history
        self._stop_after_last = stop_after_last
        self._changed = False  # somebody has come or gone since these were last counted:
        self._blocking: list[_Place] = []
        self._keep = history  # so many items are kept for those who do not block
        self._full: set[_Place] = set()  # whom the pump waits for
        self._had_its_turn = False

    def subscribe(
        self,
        maxsize: int,
        overflow: Overflow,
        *,
        max_bytes: int | None = None,
        size_of: Callable[[T], int] | None = None,
        coalesce: Callable[[T, T], T] | None = None,
        on_drop: Callable[[int], T] | None = None,
    ) -> BufferedStream[T]:
        """A new reader, from now on, after the history."""
        if maxsize < 1:
            raise ValueError(f"maxsize must be at least 1, not {maxsize}")
        losses = Losses()
        first = max(self.base, self.head - self._history)
        simple = (Overflow.BLOCK, Overflow.DROP_OLDEST, Overflow.DISCONNECT)
        if max_bytes is None and overflow in simple:
            place = _Place(first, maxsize, overflow is Overflow.BLOCK)
            reader = _Reader(self, place)
            if place.blocking:
                return BufferedStream(_whole(self, reader), reader, losses)
            cut_off = overflow is Overflow.DISCONNECT
            return BufferedStream(_newest(self, reader, losses, cut_off, on_drop), reader, losses)
        # The other policies are those of a buffer, which reads along at once.
        blocking = overflow is Overflow.BLOCK
        reader = _Reader(self, _Place(first, max(maxsize, 2 * TURN), blocking))
        along = _whole(self, reader) if blocking else _newest(self, reader, losses, False, None)
        return buffered(
            Stream(along, reader), losses, maxsize, max_bytes, overflow, size_of, coalesce, on_drop
        )

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
                self.ended()
            else:
                self._pumps.pump(source, self, 1, self.room)

    def room(self) -> int:
        """How many items the pump may pull: as many as the slowest who blocks has room for."""
        if self._changed:
            self._count()
        head = self.base + len(self.items)
        slowest, until = head, head + TURN
        for place in self._blocking:
            slowest = min(slowest, place.next)
            until = min(until, place.next + place.maxsize)
        if (spent := min(slowest, head - self._keep) - self.base) > 0:
            del self.items[:spent]
            self.base += spent
        if not self._blocking:
            self._had_its_turn = not self._had_its_turn
            return 0 if self._had_its_turn else TURN
        if until <= head:
            self._full = {p for p in self._blocking if head - p.next >= p.maxsize}
            return 0
        return until - head

    def enter(self, place: _Place) -> None:
        """Take a reader in."""
        self.places.add(place)
        self._changed = True

    def moved(self, place: _Place) -> None:
        """A reader has made room."""
        if self._full:
            self._full.discard(place)
            if not self._full:
                self.unblock()

    def leave(self, place: _Place) -> bool:
        """Take a reader out. True if it was the last, and the source is to be closed."""
        if place not in self.places:
            return False
        self.places.discard(place)
        self._changed = True
        self.moved(place)
        if self.places or not self._stop_after_last:
            return False
        self.abandoned = True
        return True

    def _count(self) -> None:
        self._changed = False
        self._blocking = [place for place in self.places if place.blocking]
        lossy = [place.maxsize for place in self.places if not place.blocking]
        self._keep = max(self._history, *lossy, 0)

    def ended(self) -> None:
        self.done = True
        self.wake()

    def stop(self) -> None:
        """Cancel the pump; does not wait for it."""
        self._pumps.stop()

    async def aclose(self) -> None:
        """Close the source."""
        await self._pumps.aclose()
        self.abandoned = True
        self.ended()


class _Reader(Scope):
    """Closes one reader: takes it out, and closes the source after the last."""

    def __init__(self, fanout: Fanout[T], place: _Place) -> None:
        super().__init__()
        self.place = place
        self._fanout = fanout
        fanout.enter(place)

    async def aclose(self) -> None:
        if self._fanout.leave(self.place):
            await self._fanout.aclose()

    def __del__(self) -> None:
        if self._fanout.leave(self.place):  # it was dropped, never read
            try:
                self._fanout.stop()
            except RuntimeError:
                pass  # the event loop is closed, and no task runs any more


async def _whole(fanout: Fanout[T], reader: _Reader) -> AsyncGenerator[T, None]:
    """All items, in pieces of half the bound; the pump waits."""
    place = reader.place
    half = max(1, place.maxsize // 2)
    looked = False
    async with reader:
        fanout.start()
        while True:
            begin = place.next - fanout.base
            if piece := fanout.items[begin : begin + half]:
                count = len(piece)
                last = piece.pop()
                for item in piece:
                    yield item
                place.next += count
                fanout.moved(place)
                yield last
                looked = False
            elif fanout.done:
                break
            elif looked:
                await fanout.wait()
            else:  # most often the pump has more by our next turn
                looked = True
                await turn()
        fanout.check()


async def _newest(
    fanout: Fanout[T],
    reader: _Reader,
    losses: Losses,
    cut_off: bool,
    on_drop: Callable[[int], T] | None,
) -> AsyncGenerator[T, None]:
    """What there is, until there is more; a reader that is too far behind jumps, or is cut off."""
    place = reader.place
    items, position, maxsize = fanout.items, place.next, place.maxsize
    async with reader:
        fanout.start()
        while True:
            head = fanout.head
            behind = head - position
            if behind > maxsize:
                if cut_off:
                    raise StreamOverflow("the reader was too slow, and is cut off")
                losses.add(behind - maxsize)
                fanout.dropped += behind - maxsize
                position = place.next = head - maxsize
                if on_drop is not None:
                    yield on_drop(losses.tell())
            elif behind:
                begin = position - fanout.base
                piece = iter(items[begin:])
                for item in piece:
                    yield item
                    if fanout.base + len(items) != head:
                        break
                position = place.next = head - length_hint(piece)
            elif fanout.done:
                break
            else:
                await fanout.wait()
        fanout.check()
