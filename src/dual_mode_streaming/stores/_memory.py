"""Streams in the memory of one process. They end with the process."""

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from dual_mode_streaming.errors import StoreFull
from dual_mode_streaming.sse import EndState, State
from dual_mode_streaming.stores._base import (
    AppendResult,
    Entry,
    Limits,
    Mark,
    NewStream,
    OnChange,
    Published,
    StreamInfo,
    check_stream,
)
from dual_mode_streaming.stores._publishing import FOREVER, MARKS, next_step


class MemoryStore:
    """A store in memory, for one event loop. The clock of the loop is the clock of the store.

    Args:
        limits: the limits of the store.
    """

    shared = False

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._streams: dict[str, _StoredStream] = {}
        self._ended: OrderedDict[str, float] = OrderedDict()  # when they ended, in this order
        self._expired: OrderedDict[str, float] = OrderedDict()  # the same, of those without entries
        self._lifetimes: list[tuple[float, str]] = []  # a heap; they may have been renewed since
        self._by_key: dict[str, str] = {}
        self._bytes = 0
        self._subscribers: dict[str, list[OnChange]] = {}

    async def create(
        self, new: NewStream, idempotency_key: str | None = None, *, replaces: str | None = None
    ) -> str:
        """See `Store.create`."""
        if idempotency_key is not None:
            found = await self.find(idempotency_key)
            if found is not None and found != replaces:
                return found
        self._remove_old()
        if new.stream in self._streams:  # the same call, repeated
            return new.stream
        self._make_room()
        lease = self._now() + self.limits.lease
        if new.lifetime is not None:
            lease = self._now() + min(new.lifetime, FOREVER)
            if new.lifetime < FOREVER:
                heapq.heappush(self._lifetimes, (lease, new.stream))
        first = (new.generation, 1)
        self._streams[new.stream] = _StoredStream(new, idempotency_key, lease, generations=[first])
        if idempotency_key is not None:
            self._by_key[idempotency_key] = new.stream
        return new.stream

    async def find(self, idempotency_key: str) -> str | None:
        """See `Store.find`."""
        self._remove_old()
        held = self._streams.get(self._by_key.get(idempotency_key, ""))
        return None if held is None or held.expired else held.new.stream

    async def append(
        self,
        stream: str,
        generation: int,
        first: int,
        payloads: Sequence[bytes],
        *,
        end: EndState | None = None,
    ) -> AppendResult:
        """See `Store.append`."""
        stored = self._streams.get(check_stream(stream))
        if stored is None:
            return AppendResult.CLOSED
        if stored.generations[-1][0] != generation:
            return AppendResult.FENCED
        repeated = max(0, stored.head + 1 - first)
        if stored.state != "running":
            is_repeated = end == stored.state and repeated >= len(payloads)
            return AppendResult.OK if is_repeated else AppendResult.CLOSED
        if payloads and first > stored.head + 1:
            return AppendResult.GAP
        stored.lease = self._now() + self.limits.lease
        self._add(stored, payloads[repeated:], end)
        if payloads or end:
            self._notify(stream)
        return AppendResult.CANCEL if stored.cancelling and end is None else AppendResult.OK

    async def publish(
        self,
        stream: str,
        payloads: Sequence[bytes],
        *,
        end: EndState | None = None,
        marks: Mapping[str, tuple[str | None, str]] | None = None,
        lifetime: float | None = None,
        entries: int | None = None,
        size: int | None = None,
    ) -> Published:
        """See `Store.publish`."""
        self._remove_old()
        stored = self._streams.get(check_stream(stream))
        if stored is None or stored.new.lifetime is None:
            return Published(AppendResult.CLOSED, 0, 0, {})
        marks = marks or {}
        held = {name: stored.marks[name] for name in marks if name in stored.marks}
        generation = stored.generations[-1][0]
        for name, (expected, _) in marks.items():
            if (held[name].value if name in held else None) != expected:
                return Published(AppendResult.CONFLICT, generation, stored.head, held)
        if stored.state != "running" and (payloads or end):
            return Published(AppendResult.CLOSED, generation, stored.head, {})
        if lifetime is not None:
            stored.lease = self._now() + min(lifetime, FOREVER)
        self._add(stored, payloads, end, entries, size)
        for name, (_, value) in marks.items():
            stored.marks.pop(name, None)
            stored.marks[name] = Mark(value, generation, stored.head)
        while len(stored.marks) > MARKS:
            del stored.marks[next(iter(stored.marks))]
        if payloads or end:
            self._notify(stream)
        return Published(AppendResult.OK, generation, stored.head, {})

    async def read(
        self, stream: str, after: int, *, entries: int = 1000, size: int = 1024 * 1024
    ) -> list[Entry]:
        """See `Store.read`."""
        stored = self._streams.get(check_stream(stream))
        if stored is None:
            return []
        found: list[Entry] = []
        first = max(after + 1, stored.earliest)
        for sequence in range(first, min(first + entries, stored.head + 1)):
            entry = stored.entries[sequence]
            size -= len(entry.payload)
            if size < 0 and found:
                break
            found.append(entry)
        return found

    async def info(self, stream: str) -> StreamInfo | None:
        """See `Store.info`."""
        self._remove_old()
        stored = self._streams.get(check_stream(stream))
        if stored is None:
            return None
        return StreamInfo(
            new=stored.new,
            state=stored.state,
            head=stored.head,
            earliest=stored.earliest,
            generations=tuple(stored.generations),
            cancelling=stored.cancelling,
            lease=stored.lease - self._now(),
            expired=stored.expired,
        )

    async def cancel(self, stream: str) -> None:
        """See `Store.cancel`."""
        stored = self._streams.get(check_stream(stream))
        if stored is not None and stored.state == "running":
            stored.cancelling = True
            self._notify(stream)

    async def take_over(self, stream: str) -> int | None:
        """See `Store.take_over`."""
        stored = self._streams.get(check_stream(stream))
        if stored is None or not stored.is_abandoned(self._now()):
            return None
        generation = stored.generations[-1][0] + next_step()
        stored.generations.append((generation, stored.head + 1))
        stored.lease = self._now() + self.limits.lease
        return generation

    async def abandoned(self) -> list[str]:
        """See `Store.abandoned`."""
        now = self._now()
        return [stream for stream, stored in self._streams.items() if stored.is_abandoned(now)]

    async def delete(self, stream: str) -> None:
        """See `Store.delete`."""
        self._remove(check_stream(stream))
        self._notify(stream)

    @asynccontextmanager
    async def subscribe(self, stream: str, on_change: OnChange) -> AsyncIterator[None]:
        """See `Store.subscribe`."""
        subscribers = self._subscribers.setdefault(stream, [])
        subscribers.append(on_change)
        try:
            yield
        finally:
            subscribers.remove(on_change)
            if not subscribers:
                self._subscribers.pop(stream, None)

    async def aclose(self) -> None:
        """Remove all streams."""
        self._streams.clear()
        self._ended.clear()
        self._expired.clear()
        self._by_key.clear()
        self._bytes = 0

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _notify(self, stream: str) -> None:
        for on_change in tuple(self._subscribers.get(stream, ())):
            on_change()

    def _add(
        self,
        stored: "_StoredStream",
        payloads: Sequence[bytes],
        end: EndState | None,
        entries: int | None = None,
        size: int | None = None,
    ) -> None:
        """Add entries, and remove the oldest ones beyond the limits, but never the last one."""
        for payload in payloads:
            stored.head += 1
            stored.entries[stored.head] = Entry(stored.generations[-1][0], stored.head, payload)
            stored.size += len(payload)
            self._bytes += len(payload)
        if end is not None:
            stored.state = end
            self._ended[stored.new.stream] = self._now()
        most = min(self.limits.stream_entries, entries or self.limits.stream_entries)
        largest = min(self.limits.stream_bytes, size or self.limits.stream_bytes)
        while len(stored.entries) > 1 and (len(stored.entries) > most or stored.size > largest):
            freed = len(stored.entries.pop(stored.earliest).payload)
            stored.size -= freed
            self._bytes -= freed

    def _remove_old(self) -> None:
        """Remove the entries of streams that ended too long ago, and later the streams."""
        now, retention = self._now(), self.limits.retention
        while self._lifetimes and self._lifetimes[0][0] <= now:
            _, stream = heapq.heappop(self._lifetimes)
            stored = self._streams.get(stream)
            if stored is not None and stored.new.lifetime is not None:
                if stored.lease > now:
                    heapq.heappush(self._lifetimes, (stored.lease, stream))
                else:
                    self._remove(stream)
                    self._notify(stream)
        while self._ended and now >= next(iter(self._ended.values())) + retention:
            stream, when = self._ended.popitem(last=False)
            self._expired[stream] = when
            stored = self._streams[stream]
            stored.expired = True
            stored.entries.clear()
            self._bytes -= stored.size
            stored.size = 0
        while self._expired and now >= next(iter(self._expired.values())) + 2 * retention:
            self._remove(next(iter(self._expired)))

    def _make_room(self) -> None:
        """Remove the streams that ended longest ago until another one fits. Raises StoreFull."""
        limits = self.limits
        while len(self._streams) >= limits.streams or self._bytes >= limits.total_bytes:
            ended = self._expired or self._ended
            if not ended:
                bound = f"{len(self._streams)} streams and {self._bytes} bytes"
                raise StoreFull(f"the store has {bound}, and all of them are running")
            self._remove(next(iter(ended)))

    def _remove(self, stream: str) -> None:
        stored = self._streams.pop(stream, None)
        if stored is None:
            return
        self._ended.pop(stream, None)
        self._expired.pop(stream, None)
        self._bytes -= stored.size
        key = stored.idempotency_key
        if key is not None and self._by_key.get(key) == stream:
            del self._by_key[key]


@dataclass(slots=True)
class _StoredStream:
    """A stream with its entries, which have no gap up to `head`."""

    new: NewStream
    idempotency_key: str | None
    lease: float
    state: State = "running"
    entries: dict[int, Entry] = field(default_factory=dict)
    head: int = 0
    size: int = 0
    generations: list[tuple[int, int]] = field(default_factory=lambda: [(1, 1)])
    cancelling: bool = False
    expired: bool = False
    marks: dict[str, Mark] = field(default_factory=dict)  # the newest last

    @property
    def earliest(self) -> int:
        """The sequence of the first entry that is still stored."""
        return self.head + 1 - len(self.entries)

    def is_abandoned(self, now: float) -> bool:
        return self.state == "running" and self.lease <= now and self.new.lifetime is None
