"""Sources that are always ready leave others their turn, however many they are.

The clock is counted, not measured: each look at it is 30 µs later. So these tests say the same on a
loaded machine.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI

from dual_mode_streaming import dual_mode, install
from dual_mode_streaming.running import pull, timeslice
from dual_mode_streaming.running.owner import Owner

from .asgi import get

SOURCES = 80
ITERATIONS = 1_000
ACCEPT = {
    "stream": "text/event-stream",
    "batch": "application/json",
    "fold": "application/json",
    "recorded": "text/event-stream",
}


@pytest.fixture(autouse=True)
def counted_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    for module in (pull, timeslice):
        monkeypatch.setattr(module, "perf_counter", lambda: next(ticks) * 30e-6)


async def as_usual(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


async def never(count: int) -> None:
    """Do not wait: the source is always ready."""


async def for_each(count: int) -> None:
    """Wait for one iteration of the event loop, as for an upstream that is fast."""
    await asyncio.sleep(0)


async def now_and_then(count: int) -> None:
    """Wait alike, each time before the timeslice is over."""
    if count % 5 == 0:
        await asyncio.sleep(0)


@pytest.mark.parametrize("wait", [never, for_each, now_and_then])
@pytest.mark.parametrize("how", ACCEPT)
async def test_busy_sources_share_an_iteration_of_the_loop(how: str, wait: Any) -> None:
    loop = asyncio.get_running_loop()
    ran: list[list[int]] = [[]]  # the sources of the items of each iteration of the loop

    def next_iteration() -> None:
        ran.append([])
        if len(ran) < ITERATIONS:
            loop.call_soon(next_iteration)

    async def source(number: int) -> AsyncIterator[int]:
        for count in itertools.count():
            await wait(count)
            ran[-1].append(number)
            if len(ran) == ITERATIONS:
                return
            yield count

    app = FastAPI()
    install(app, store="memory")
    fold = as_usual if how == "fold" else None
    app.get("/{number}")(dual_mode(fold=fold, record=how == "recorded")(source))
    next_iteration()
    async with app.router.lifespan_context(app), asyncio.TaskGroup() as group:
        answers = [
            group.create_task(get(app, f"/{number}", accept=ACCEPT[how], timeout=60))
            for number in range(SOURCES)
        ]
    assert all(answer.result().status == 200 for answer in answers)
    steady = ran[ITERATIONS // 4 : -1]
    assert max(map(len, steady)) <= 45, sorted(map(len, steady))[-20:]  # 1.35 ms by that clock
    items = Counter(itertools.chain(*steady))
    assert len(items) == SOURCES
    assert max(items.values()) <= 4 * min(items.values()), items


async def test_a_flush_that_waits_does_not_leave_the_timeslice_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The wait is not the source's time; each later flush would come after a few items."""
    made = 5_000
    flushed = [0]

    class Sink:
        def take(self, item: int) -> None:
            flushed[-1] += 1

        def check(self) -> None:
            return None

        async def flush(self) -> None:
            flushed.append(0)
            written = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(later, written)
            await written

    def later(written: asyncio.Future[None]) -> None:
        for _ in range(10):
            pull.perf_counter()
        written.set_result(None)

    async def source() -> AsyncIterator[int]:
        for n in range(made):
            if n % 1_000 == 0:
                clock.ends = pull.perf_counter()  # the timeslice is over
            yield n

    monkeypatch.setattr(timeslice, "STREAM_SECONDS", 1e9)
    clock = timeslice.Timeslice()
    work = pull.pull(source(), Sink(), Owner(5), clock)
    await pull.drive(work, lambda: None, clock)
    assert sum(flushed) == made
    assert len(flushed) <= 2 * made / 1_000 + 1
