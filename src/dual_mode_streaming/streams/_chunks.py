"""Read a buffer in chunks, so that a fast source costs a task switch per chunk, not per item.

`chunks` is the loop that all readers of a bounded buffer share: `read` for those of a task, the
thread bridge (`bridges/_to_sync.py`) for those of a thread.
"""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from dual_mode_streaming.streams._pumps import Demand, ItemBuffer, Pumps, yield_to_loop
from dual_mode_streaming.streams._scope import Scope

T = TypeVar("T")


class ChunkSource(Protocol[T]):
    """One reader's view of a buffer."""

    def start(self) -> None:
        """Start the pumps."""

    def take(self) -> list[T]:
        """Return the next items, a part of the bound at most; an empty list if there are none."""

    def deliver(self) -> None:
        """Count the items of the last `take` as delivered, and let the pumps go on."""

    @property
    def finished(self) -> bool:
        """Whether `take` will return no further item."""

    async def wait(self) -> None:
        """Wait until there may be items, or the end."""

    def raise_error(self) -> None:
        """Raise the error of the source, if it failed."""


def chunks(source: ChunkSource[T]) -> Iterator[Sequence[T]]:
    """Yield the items in chunks until the source is finished; an empty chunk means: wait for more.

    A chunk is delivered just before its last item is handed over: not earlier, which would exceed
    the bound, and not later, which would keep the pump waiting while the consumer works on it.
    """
    take, deliver = source.take, source.deliver
    while True:
        if chunk := take():
            last = chunk.pop()
            if chunk:
                yield chunk
            deliver()
            yield (last,)
        elif source.finished:
            return
        else:
            yield ()


async def read(
    scope: Scope,
    *sources: ChunkSource[T],
    wait: Callable[[], Awaitable[object]] | None = None,
) -> AsyncGenerator[T, None]:
    """Start all sources, then yield the items of each in turn; close `scope` on every exit.

    The error of a source is raised after its items. `wait` replaces the `wait` of the source.
    """
    async with scope:
        for source in sources:
            source.start()
        for source in sources:
            yielded = False
            for chunk in chunks(source):
                if chunk:
                    for item in chunk:
                        yield item
                    yielded = False
                elif yielded:
                    await (wait or source.wait)()
                else:  # usually one iteration of the loop brings more items
                    yielded = True
                    await yield_to_loop()
            source.raise_error()


class ChunkedQueue(ItemBuffer, Generic[T]):
    """A bounded queue of many pumps and one reader, in the order of arrival.

    Of each source at most `maxsize` items are pulled and not delivered, so no source can crowd out
    the others. The reader takes chunks of half the total bound; when it has delivered one, the
    pumps refill that half while it reads the other.

    The first error stops the other sources. With `stop_on_first`, so does the first end.
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
        self._chunk_size = max(1, maxsize * len(sources) // 2)
        self._stop_on_first = stop_on_first
        self._open = len(sources)
        self._taken = 0  # items that have left the list
        self.delivered = 0  # items that the consumer has

    @property
    def finished(self) -> bool:
        """No further item will come; those in `items` are still to be delivered."""
        return self._open <= 0 or self.error is not None

    def start(self) -> None:
        """Start a pump for each source, in the reader's context."""
        for source in self._sources:
            self._pumps.pump(source, self, self._maxsize, self._demand())
        self._sources = ()

    def take(self, limit: int | None = None) -> list[T]:
        """Return the next items, at most `limit`, by default half the bound."""
        limit = limit or self._chunk_size
        chunk = self.items[:limit]
        del self.items[:limit]
        self._taken += len(chunk)
        return chunk

    def deliver(self) -> None:
        """Count what was taken as delivered, and let the blocked pumps go on."""
        self.delivered = self._taken
        if self.blocked:
            self.unblock()

    def pump_ended(self) -> None:
        self._open -= 1
        if self._open > 0 and (self._stop_on_first or self.error is not None):
            self._open = 0
            self._pumps.stop()
        if self.finished:
            self.wake()

    def _demand(self) -> Demand:
        """Return the demand of one pump.

        The items of a pump lie before the end of the list at the moment when it stopped. So at most
        as many of them are undelivered as of all items before that mark.
        """
        mark: int | None = None

        def demand() -> int:
            nonlocal mark
            if mark is None:
                mark = self._taken + len(self.items)
            free = self._maxsize - max(0, mark - self.delivered)
            if free > 0:
                mark = None
            return max(0, free)

        return demand
