"""What is measured over HTTP: each scenario takes running contenders and gives their figures.

A figure is what one contender cost or took in one round; contenders take turns within a round, and
another one begins each. CPU is the server's, by the operating system.
"""

import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from contender import Contender, running
from load import Reader, connect

__all__ = ["Figures", "Plan", "batch", "busy", "feed", "growth", "paced", "short", "vanish", "wait"]

Figures = dict[str, dict[str, list[float]]]
"""Of a scenario: what is measured, of whom, in each round."""

WARM_UP = 2_000
FOR_EVER = 10**9
PATIENCE = 2.0  # seconds, for a server that may hang


@dataclass
class Plan:
    """How much is measured: `share` is a part of the usual length of a run."""

    rounds: int
    share: float
    readers: int = 1_000
    client: list[float] = field(default_factory=list)  # its share of a core, a run


@asynccontextmanager
async def servers(names: Sequence[str]) -> AsyncIterator[list[Contender]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(running(name)) for name in names]


async def in_turns(
    names: Sequence[str], rounds: int, measure: Callable[[Contender], Awaitable[dict[str, float]]]
) -> Figures:
    """Measure each in each round; what the first call of each gives is its warm-up."""
    figures: Figures = {}
    async with servers(names) as contenders:
        for number in range(rounds + 1):
            turn = number % len(contenders)
            for contender in contenders[turn:] + contenders[:turn]:
                for figure, value in (await measure(contender)).items():
                    if number:
                        figures.setdefault(figure, {}).setdefault(contender.name, []).append(value)
    return figures


async def busy(names: Sequence[str], plan: Plan) -> Figures:
    """One reader, a source that never waits."""
    cost: dict[str, float] = {}

    async def measure(contender: Contender) -> dict[str, float]:
        name = contender.name
        n = WARM_UP
        if name in cost:  # as many as take so long
            n = max(WARM_UP, int(0.5 * plan.share / cost[name]))
        reader = await connect(contender.port)
        cpu, own, start = contender.cpu, time.process_time(), time.perf_counter()
        await reader.get(f"/stream?n={n}")
        took = time.perf_counter() - start
        cost[name] = (contender.cpu - cpu) / n
        if n > WARM_UP:
            plan.client.append((time.process_time() - own) / took)
        assert reader.events == n, (name, reader.events, n)
        reader.transport.close()
        return {"CPU µs an event": cost[name] * 1e6, "events a second": n / took}

    return await in_turns(names, plan.rounds, measure)


async def short(names: Sequence[str], plan: Plan) -> Figures:
    """Streams of 20 events: by eight connections for the CPU, by one for the first event."""

    async def measure(contender: Contender) -> dict[str, float]:
        requests = int(800 * plan.share)
        readers = [await connect(contender.port) for _ in range(8)]

        async def ask(reader: Reader) -> None:
            for _ in range(requests // len(readers)):
                await reader.get("/stream?n=20")

        cpu = contender.cpu
        await asyncio.gather(*map(ask, readers))
        cpu = contender.cpu - cpu
        events = sum(reader.events for reader in readers)
        assert events == requests // 8 * 8 * 20, (contender.name, events)
        firsts = []
        for _ in range(requests // 4):
            start = time.perf_counter()
            await readers[0].get("/stream?n=20")
            firsts.append(readers[0].first - start)
        for reader in readers:
            reader.transport.close()
        return {
            "CPU µs a request": cpu / (requests // 8 * 8) * 1e6,
            "first event, ms": statistics.median(firsts) * 1e3,
        }

    return await in_turns(names, plan.rounds, measure)


async def batch(names: Sequence[str], plan: Plan, n: int) -> Figures:
    """A batch of `n` items, by four connections."""

    async def measure(contender: Contender) -> dict[str, float]:
        requests = max(8, int((200 if n > 100 else 1_200) * plan.share))
        readers = [await connect(contender.port) for _ in range(4)]

        async def ask(reader: Reader) -> None:
            for _ in range(requests // len(readers)):
                await reader.get(f"/batch?n={n}", "application/json")

        cpu = contender.cpu
        await asyncio.gather(*map(ask, readers))
        cpu = contender.cpu - cpu
        asked = requests // 4 * 4
        assert sum(reader.events for reader in readers) == asked * n, contender.name
        for reader in readers:
            reader.transport.close()
        return {"CPU µs a request": cpu / asked * 1e6}

    return await in_turns(names, plan.rounds, measure)


async def opened(
    contender: Contender, path: str, many: int, seconds: float, mark: bytes = b'"index"'
) -> list[Reader]:
    """Many readers, opened one after another within `seconds`, and answered or given up."""
    readers: list[Reader] = []
    for number in range(many):
        reader = await connect(contender.port)
        reader.mark = mark
        reader.get(path)
        readers.append(reader)
        if number % 20 == 19:
            await asyncio.sleep(seconds * 20 / many)
    deadline = time.monotonic() + 3 * PATIENCE
    while time.monotonic() < deadline and not all(reader.events for reader in readers):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return readers


async def paced(names: Sequence[str], plan: Plan, readers: int = 0) -> Figures:
    """Many readers of 20 events a second each; a new server for each, for its memory."""
    figures: Figures = {}
    many, seconds = readers or plan.readers, 3 * plan.share
    for number in range(plan.rounds):
        for name in [*names[number % len(names) :], *names[: number % len(names)]]:
            async with running(name) as contender:
                for _ in range(20):  # what the first requests load and cache is no connection's
                    await (await connect(contender.port)).get("/stream?n=20")
                before = contender.memory
                crowd = await opened(contender, "/stream?n=-50", many, 1.0)
                late: list[float] = []
                for reader in crowd:
                    reader.late = late
                    reader.events = 0
                cpu, own, start = contender.cpu, time.process_time(), time.perf_counter()
                await asyncio.sleep(seconds)
                took = time.perf_counter() - start
                cpu, own = contender.cpu - cpu, time.process_time() - own
                events = sum(reader.events for reader in crowd)
                memory = contender.memory - before
                plan.client.append(own / took)
                late.sort()
                for figure, value in {
                    "CPU µs an event": cpu / events * 1e6,
                    "delivered of what is due": events / (many * 20 * took),
                    "lateness p50, ms": late[len(late) // 2] * 1e3,
                    "lateness p99, ms": late[len(late) * 99 // 100] * 1e3,
                    "memory a connection, kB": memory / many / 1e3,
                }.items():
                    figures.setdefault(figure, {}).setdefault(name, []).append(value)
                for reader in crowd:
                    reader.transport.abort()
    return figures


async def wait(names: Sequence[str], plan: Plan) -> Figures:
    """How long another request waits beside one busy stream."""
    cost: dict[str, float] = {}

    async def measure(contender: Contender) -> dict[str, float]:
        name = contender.name
        n = WARM_UP
        if name in cost:
            n = max(WARM_UP, int(1.5 * plan.share / cost[name]))
        stream, other = await connect(contender.port), await connect(contender.port)
        cpu = contender.cpu
        streaming = asyncio.ensure_future(stream.get(f"/stream?n={n}"))
        waits = []
        await stream.begun.wait()
        while True:
            start = time.perf_counter()
            await other.get("/ping")
            waits.append(time.perf_counter() - start)
            if streaming.done():
                break
            await asyncio.sleep(0.005)
        await streaming
        cost[name] = (contender.cpu - cpu) / n
        stream.transport.close()
        other.transport.close()
        return {"wait p50, ms": statistics.median(waits) * 1e3, "wait max, ms": max(waits) * 1e3}

    return await in_turns(names, max(1, plan.rounds // 2), measure)


async def state_of(contender: Contender) -> dict[str, Any]:
    """What its sources are doing. Raises TimeoutError if it hangs."""
    reader = await connect(contender.port)
    try:
        await asyncio.wait_for(reader.get("/state", "*/*"), PATIENCE)
        state: dict[str, Any] = json.loads(reader.body)
        return state
    finally:
        reader.transport.abort()


async def vanish(names: Sequence[str], path: str, many: int = 500) -> Figures:
    """Many readers vanish at once: how long until their sources are closed. NaN is never."""
    figures: Figures = {}
    for name in names:
        async with running(name) as contender:
            before = await state_of(contender)
            crowd = await opened(contender, path, many, 0.2)
            resets, closed, tasks = [], [], many
            for reader in crowd:
                reader.vanish()
                resets.append(time.monotonic())
            deadline = time.monotonic() + PATIENCE
            with contextlib.suppress(TimeoutError):  # it hangs
                while (len(closed) < many or tasks) and time.monotonic() < deadline:
                    await asyncio.sleep(0.1)
                    now = await state_of(contender)
                    closed, tasks = now["closed"], now["tasks"] - before["tasks"]
            # Which closed for which reset is not known; in order is right for the sum of the times.
            took = sorted(c - r for r, c in zip(resets, sorted(closed), strict=False))
            took += [float("nan")] * many
            for figure, value in {
                "closed p50, ms": took[many // 2] * 1e3,
                "closed p99, ms": took[many * 99 // 100] * 1e3,
                "sources left": many - len(closed),
                "tasks left": tasks,
            }.items():
                figures.setdefault(figure, {}).setdefault(name, []).append(value)
    return figures


async def feed(plan: Plan, burst: int) -> Figures:
    """One feed to many readers, `burst` events at a time, as fast as the slowest reads them."""
    figures: Figures = {}
    for number in range(plan.rounds):
        for name in ("feed", "feed_each") if number % 2 else ("feed_each", "feed"):
            async with running(name) as contender:
                crowd = await opened(
                    contender, f"/feed?burst={burst}", plan.readers, 1.0, b'"time"'
                )
                cpu, start = contender.cpu, time.perf_counter()
                events = sum(reader.events for reader in crowd)
                await asyncio.sleep(3 * plan.share)
                events = sum(reader.events for reader in crowd) - events
                took, cpu = time.perf_counter() - start, contender.cpu - cpu
                for figure, value in {
                    "CPU µs an event and reader": cpu / events * 1e6,
                    "events and readers a second": events / took,
                }.items():
                    figures.setdefault(figure, {}).setdefault(name, []).append(value)
                for reader in crowd:
                    reader.transport.abort()
    return figures


async def growth(plan: Plan) -> Figures:
    """CPU by the length of a stream and by the number of paced readers, over a decade."""
    lengths = [int(length * plan.share) for length in (20_000, 40_000, 100_000, 200_000)]
    figures: Figures = {"CPU ms by events": {}, "CPU ms a second by readers": {}}
    async with running("ours") as contender:
        reader = await connect(contender.port)
        await reader.get(f"/stream?n={lengths[0]}")
        for _ in range(plan.rounds):
            for length in lengths:
                cpu = contender.cpu
                await reader.get(f"/stream?n={length}")
                cpu = contender.cpu - cpu
                figures["CPU ms by events"].setdefault(str(length), []).append(cpu * 1e3)
    for many in (100, 200, 500, 1_000):
        of_run = await paced(["ours"], Plan(1, plan.share), many)
        cpu = of_run["CPU µs an event"]["ours"][0] * many * 20 / 1e3
        figures["CPU ms a second by readers"][str(many)] = [cpu]
    return figures
