"""From pumps to one reader: a bounded list that changes hands in pieces, not item by item."""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from dual_mode_streaming.streams._scope import Pumps, Room, Sink, turn

__all__ = ["Handoff", "read"]

T = TypeVar("T")


class Handoff(Sink, Generic[T]):
    """Pumps append to one list, in the order of arrival; one reader takes from it.

    Of each source at most `maxsize` items are pulled and not delivered, so none can crowd out
    another. The reader takes pieces of half of all that, and when it has delivered one the pumps
    go on. So a fast source costs a switch of tasks a piece, not two an item, and a slow reader
    has the other half while the first is being replaced.

    The first error stops the other sources.
    """

    def __init__(
        self,
        pumps: Pumps,
        sources: Sequence[AsyncIterable[T]],
        maxsize: int,
        *,
        stop_on_first: bool = False,
    ) -> None:
        if maxsize < 1:
            raise ValueError(f"maxsize must be at least 1, not {maxsize}")
        super().__init__()
        self.items: list[T] = []
        self.append = self.items.append
        self._pumps = pumps
        self._sources = sources
        self._maxsize = maxsize
        self._piece = max(1, maxsize * len(sources) // 2)
        self._stop_on_first = stop_on_first
        self._open = len(sources)
        self._taken = 0  # how many items have left the list
        self.delivered = 0  # how many of them the consumer has

    @property
    def finished(self) -> bool:
        """No further item will come; those in `items` are still to be delivered."""
        return self._open <= 0 or self.error is not None

    def start(self) -> None:
        """Start a pump for each source, in the reader's context."""
        for source in self._sources:
            self._pumps.pump(source, self, self._maxsize, self._room())
        self._sources = ()

    def take(self, limit: int | None = None) -> list[T]:
        """The next items, half the bound at most. `deliver` when the last of them leaves."""
        limit = limit or self._piece
        piece = self.items[:limit]
        del self.items[:limit]
        self._taken += len(piece)
        return piece

    def deliver(self) -> None:
        """What was taken is the consumer's: let the pumps go on that wait for that."""
        self.delivered = self._taken
        if self.blocked:
            self.unblock()

    def ended(self) -> None:
        self._open -= 1
        if self._open > 0 and (self._stop_on_first or self.error is not None):
            self._open = 0
            self._pumps.stop()
        if self.finished:
            self.wake()

    def _room(self) -> Room:
        """How a pump learns how many items it may pull.

        What it pulled lies before the list's end as that was when it stopped; so of its items no
        more are undelivered than of all items before that mark.
        """
        mark: int | None = None

        def room() -> int:
            nonlocal mark
            if mark is None:
                mark = self._taken + len(self.items)
            free = self._maxsize - max(0, mark - self.delivered)
            if free > 0:
                mark = None
            return max(0, free)

        return room


async def read(
    pumps: Pumps,
    *handoffs: Handoff[T],
    wait: Callable[[Handoff[T]], Awaitable[object]] = Handoff.wait,
) -> AsyncGenerator[T, None]:
    """Start the handoffs, all now, and give the items of each in turn; close `pumps` at the end.

    The error of a handoff is raised after its items. `wait` is awaited when there are none.
    """
    async with pumps:
        for handoff in handoffs:
            handoff.start()
        for handoff in handoffs:
            items = handoff.items
            looked = False
            while True:
                if items:
                    piece = handoff.take()
                    last = piece.pop()
                    for item in piece:
                        yield item
                    handoff.deliver()
                    yield last
                    looked = False
                elif handoff.finished:
                    break
                elif looked:
                    await wait(handoff)
                else:  # most often the pumps have more by our next turn
                    looked = True
                    await turn()
            handoff.check()
