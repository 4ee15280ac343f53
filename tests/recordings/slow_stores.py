"""A store with faults on demand, and recordings in it, for the tests of recordings."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from dual_mode_streaming.recordings import (
    Cursor,
    Gap,
    Operation,
    RecordingRequest,
    Recordings,
    StreamRecord,
)
from dual_mode_streaming.sse import dumps
from dual_mode_streaming.stores import Limits, MemoryStore, StoreError
from dual_mode_streaming.testing import run_with_virtual_clock


class FaultyStore(MemoryStore):
    """A store in memory that can be slow or fail.

    `failing` has the names of the methods that raise a StoreError, `before` and `after` are awaited
    around each append, and `calls` counts the calls by method.
    """

    def __init__(self, limits: Limits | None = None, *, shared: bool = False) -> None:
        super().__init__(limits)
        self.shared = shared
        self.failing: set[str] = set()
        self.before: Callable[..., Awaitable[None]] = _at_once
        self.after: Callable[..., Awaitable[None]] = _at_once
        self.calls: dict[str, int] = {}

    def _called(self, name: str) -> None:
        self.calls[name] = self.calls.get(name, 0) + 1
        if name in self.failing:
            raise StoreError(f"{name} fails")

    async def append(self, stream, generation, first, payloads, *, end=None):
        self._called("append")
        await self.before(payloads, end)
        result = await super().append(stream, generation, first, payloads, end=end)
        await self.after(payloads, end)
        return result

    async def info(self, stream):
        self._called("info")
        return await super().info(stream)

    async def read(self, stream, after, *, entries=1000, size=1024 * 1024):
        self._called("read")
        return await super().read(stream, after, entries=entries, size=size)

    async def abandoned(self):
        self._called("abandoned")
        return await super().abandoned()

    @contextlib.asynccontextmanager
    async def subscribe(self, stream, on_change):
        self._called("subscribe")
        async with super().subscribe(stream, on_change):
            yield


async def _at_once(payloads: Any, end: Any) -> None:
    pass


def record_of(item: Any) -> StreamRecord:
    return StreamRecord("json", "", dumps(item))


def problem_of(error: BaseException) -> dict[str, Any]:
    return {"status": 500, "detail": str(error)}


class FaultyRecordings:
    """Recordings in a faulty store, with one operation."""

    def __init__(self, limits: Limits | None = None, *, shared: bool = False, **operation: Any):
        self.store = FaultyStore(limits, shared=shared)
        self.recordings = Recordings(self.store)
        given = {"record_of": record_of, "problem_of": problem_of, **operation}
        self.operation = Operation(name="op", **given)
        self.recordings.add(self.operation)

    async def start(self, source: Callable[[], AsyncIterator[Any]], **more: Any):
        request = RecordingRequest(operation=self.operation, owner="", fingerprint="", **more)
        return await self.recordings.start(request, source)

    async def read(self, info, after: Cursor | None = None) -> list[tuple[int, str]]:
        """Read to the end: each sequence with its item, or with the state of the end."""
        records = self.recordings.read(info, after or Cursor(info.new.stream, 1, 0))
        async with contextlib.aclosing(records):
            return [_summary(record) async for record in records]

    async def state(self, info) -> str:
        return (await MemoryStore.info(self.store, info.new.stream)).state


def _summary(stored: Any) -> tuple[int, str]:
    if isinstance(stored, Gap):
        return stored.earliest.sequence, f"gap: {stored.reason}"
    record = stored.record
    return stored.cursor.sequence, record.name if record.kind == "end" else record.data.decode()


def on_virtual_clock(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test on a clock that advances when every task waits: a deadlock times out at once."""

    async def limited(*args: Any) -> None:
        async with asyncio.timeout(3600):
            await test(*args)

    def run() -> None:
        run_with_virtual_clock(limited())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run
