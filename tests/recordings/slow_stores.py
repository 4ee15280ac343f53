"""What tests of recordings share: a store whose faults are asked for, and one hub upon it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from dual_mode_streaming.recordings import Cursor, Lost, Operation, Record, Recordings, Start
from dual_mode_streaming.sse import dumps
from dual_mode_streaming.stores import Limits, MemoryStore, StoreError
from dual_mode_streaming.testing import run_with_virtual_clock


class FaultyStore(MemoryStore):
    """A store in memory that can be slow, out of reach, or both, before it acts or after it has.

    `failing` names the methods that cannot be called, `before` and `after` wait around an append,
    and `calls` counts.
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
            raise StoreError(f"{name} cannot be done")

    async def append(self, stream, generation, first, payloads, *, end=None):
        self._called("append")
        await self.before(payloads, end)
        verdict = await super().append(stream, generation, first, payloads, end=end)
        await self.after(payloads, end)
        return verdict

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


def record_of(item: Any) -> Record:
    return Record("json", "", dumps(item))


def problem_of(error: BaseException) -> dict[str, Any]:
    return {"status": 500, "detail": str(error)}


class Stage:
    """A hub on a faulty store, and what was recorded there."""

    def __init__(self, limits: Limits | None = None, *, shared: bool = False, **operation: Any):
        self.store = FaultyStore(limits, shared=shared)
        self.hub = Recordings(self.store)
        given = {"record_of": record_of, "problem_of": problem_of, **operation}
        self.operation = Operation(name="op", **given)
        self.hub.add(self.operation)

    async def start(self, source: Callable[[], AsyncIterator[Any]], **more: Any):
        return await self.hub.start(
            Start(operation=self.operation, owner="", fingerprint="", **more), source
        )

    async def told(self, info, after: Cursor | None = None) -> list[tuple[int, str]]:
        """All that a reader is told to the end: sequences, and the items or states there."""
        told = []
        records = self.hub.read(info, after or Cursor(info.new.stream, 1, 0))
        async with contextlib.aclosing(records):
            async for record in records:
                told.append(_as_told(record))
        return told

    async def state(self, info) -> str:
        return (await MemoryStore.info(self.store, info.new.stream)).state


def _as_told(told: Any) -> tuple[int, str]:
    if isinstance(told, Lost):
        return told.earliest.sequence, f"lost: {told.reason}"
    record = told.record
    return told.cursor.sequence, record.name if record.kind == "end" else record.data.decode()


def on_virtual_clock(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """The test on a clock that passes while nobody can run: a deadlock is a timeout at once."""

    async def limited(*args: Any) -> None:
        async with asyncio.timeout(3600):
            await test(*args)

    def run() -> None:
        run_with_virtual_clock(limited())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run
