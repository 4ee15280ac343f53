"""Streams in the memory of this process: fast, bounded, and gone with it."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from dual_mode_streaming.sse import EndState
from dual_mode_streaming.stores._base import (
    AppendResult,
    Entry,
    Limits,
    NewStream,
    State,
    StoreFull,
    StreamInfo,
    check_stream,
)

__all__ = ["MemoryStore"]


class MemoryStore:
    """The streams of one process. One event loop; its clock is the store's."""

    shared = False

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._streams: dict[str, _Stream] = {}
        self._ended: OrderedDict[str, float] = OrderedDict()  # when, the longest ago first
        self._expired: OrderedDict[str, float] = OrderedDict()  # those that are only remembered
        self._by_key: dict[str, str] = {}
        self._bytes = 0
        self._listeners: dict[str, list[Callable[[], None]]] = {}

    async def create(self, new: NewStream, idempotency_key: str | None = None) -> str:
        """See `Store.create`."""
        self._forget_old()
        if idempotency_key is not None:
            held = self._streams.get(self._by_key.get(idempotency_key, ""))
            if held is not None and not held.expired:
                return held.new.stream
        if new.stream in self._streams:  # the call is made again
            return new.stream
        self._make_room()
        stream = _Stream(new, idempotency_key, self._now() + self.limits.lease)
        self._streams[new.stream] = stream
        if idempotency_key is not None:
            self._by_key[idempotency_key] = new.stream
        return new.stream

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
        kept = self._streams.get(check_stream(stream))
        if kept is None:
            return AppendResult.CLOSED
        if kept.generations[-1][0] != generation:
            return AppendResult.FENCED
        known = max(0, kept.head + 1 - first)
        if kept.state != "running":
            again = end == kept.state and known >= len(payloads)
            return AppendResult.OK if again else AppendResult.CLOSED
        if payloads and first > kept.head + 1:
            return AppendResult.GAP
        for payload in payloads[known:]:
            kept.head += 1
            kept.entries[kept.head] = Entry(generation, kept.head, payload)
            kept.size += len(payload)
            self._bytes += len(payload)
        self._trim(kept)
        kept.lease = self._now() + self.limits.lease
        if end is not None:
            kept.state = end
            self._ended[stream] = self._now()
        if payloads or end:
            self._ring(stream)
        return AppendResult.CANCEL if kept.cancelling and end is None else AppendResult.OK

    async def read(
        self, stream: str, after: int, *, entries: int = 1000, size: int = 1024 * 1024
    ) -> list[Entry]:
        """See `Store.read`."""
        kept = self._streams.get(check_stream(stream))
        if kept is None:
            return []
        found: list[Entry] = []
        first = max(after + 1, kept.earliest)
        for sequence in range(first, min(first + entries, kept.head + 1)):
            entry = kept.entries[sequence]
            size -= len(entry.payload)
            if size < 0 and found:
                break
            found.append(entry)
        return found

    async def info(self, stream: str) -> StreamInfo | None:
        """See `Store.info`."""
        self._forget_old()
        kept = self._streams.get(check_stream(stream))
        if kept is None:
            return None
        return StreamInfo(
            new=kept.new,
            state=kept.state,
            head=kept.head,
            earliest=kept.earliest,
            generations=tuple(kept.generations),
            cancelling=kept.cancelling,
            lease=kept.lease - self._now(),
            expired=kept.expired,
        )

    async def cancel(self, stream: str) -> None:
        """See `Store.cancel`."""
        kept = self._streams.get(check_stream(stream))
        if kept is not None and kept.state == "running":
            kept.cancelling = True
            self._ring(stream)

    async def take_over(self, stream: str) -> int | None:
        """See `Store.take_over`."""
        kept = self._streams.get(check_stream(stream))
        if kept is None or not kept.is_abandoned(self._now()):
            return None
        generation = kept.generations[-1][0] + 1
        kept.generations.append((generation, kept.head + 1))
        kept.lease = self._now() + self.limits.lease
        return generation

    async def abandoned(self) -> list[str]:
        """See `Store.abandoned`."""
        now = self._now()
        return [stream for stream, kept in self._streams.items() if kept.is_abandoned(now)]

    async def delete(self, stream: str) -> None:
        """See `Store.delete`."""
        self._forget(stream)
        self._ring(stream)

    @asynccontextmanager
    async def subscribe(self, stream: str, on_change: Callable[[], None]) -> AsyncIterator[None]:
        """See `Store.subscribe`."""
        listeners = self._listeners.setdefault(stream, [])
        listeners.append(on_change)
        try:
            yield
        finally:
            listeners.remove(on_change)
            if not listeners:
                self._listeners.pop(stream, None)

    async def aclose(self) -> None:
        """Forget everything."""
        self._streams.clear()
        self._ended.clear()
        self._expired.clear()
        self._by_key.clear()
        self._bytes = 0

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _ring(self, stream: str) -> None:
        for ring in tuple(self._listeners.get(stream, ())):
            ring()

    def _trim(self, kept: "_Stream") -> None:
        """Let go of the oldest entries beyond the bounds of a stream, but never of the last."""
        limits = self.limits
        while len(kept.entries) > 1 and (
            len(kept.entries) > limits.stream_entries or kept.size > limits.stream_bytes
        ):
            size = len(kept.entries.pop(kept.earliest).payload)
            kept.size -= size
            self._bytes -= size

    def _forget_old(self) -> None:
        """Empty the streams that ended too long ago; forget them after as long again."""
        now, retention = self._now(), self.limits.retention
        while self._ended and now >= next(iter(self._ended.values())) + retention:
            stream, when = self._ended.popitem(last=False)
            self._expired[stream] = when
            self._empty(self._streams[stream])
        while self._expired and now >= next(iter(self._expired.values())) + 2 * retention:
            self._forget(next(iter(self._expired)))

    def _make_room(self) -> None:
        """Forget what ended longest ago until one more fits. Raises StoreFull."""
        limits = self.limits
        while len(self._streams) >= limits.streams or self._bytes >= limits.total_bytes:
            ended = self._expired or self._ended
            if not ended:
                bound = f"{len(self._streams)} streams and {self._bytes} bytes"
                raise StoreFull(f"the store has {bound}, and all of them are running")
            self._forget(next(iter(ended)))

    def _empty(self, kept: "_Stream") -> None:
        kept.expired = True
        self._bytes -= kept.size
        kept.size = 0
        kept.entries.clear()

    def _forget(self, stream: str) -> None:
        kept = self._streams.pop(check_stream(stream), None)
        if kept is None:
            return
        self._ended.pop(stream, None)
        self._expired.pop(stream, None)
        self._bytes -= kept.size
        if kept.idempotency_key is not None and self._by_key.get(kept.idempotency_key) == stream:
            del self._by_key[kept.idempotency_key]


class _Stream:
    """One stream, as it is kept."""

    __slots__ = (
        "cancelling",
        "entries",
        "expired",
        "generations",
        "head",
        "idempotency_key",
        "lease",
        "new",
        "size",
        "state",
    )

    def __init__(self, new: NewStream, idempotency_key: str | None, lease: float) -> None:
        self.new = new
        self.idempotency_key = idempotency_key
        self.state: State = "running"
        self.entries: dict[int, Entry] = {}  # without gaps, up to `head`
        self.head = 0
        self.size = 0
        self.generations = [(1, 1)]
        self.cancelling = False
        self.lease = lease
        self.expired = False

    @property
    def earliest(self) -> int:
        """The sequence of the first that is kept."""
        return self.head + 1 - len(self.entries)

    def is_abandoned(self, now: float) -> bool:
        return self.state == "running" and self.lease <= now
