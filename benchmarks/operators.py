"""The stream operators beside their peers, as ratios to a bare `async for` in the same process.

    python benchmarks/operators.py [--rounds 7] [--only merge2] [--json FILE]

1.0 is the speed of reading as many items from one source with nothing between. A source is
"ready" (it never suspends) or "susp" (one `sleep(0)` an item). The contenders take turns within a
round, and each is compared with the bare loop that was timed just before and just after it; the
table gives the median, and in brackets the lowest and highest of the rounds.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import platform
import statistics
import sys
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import peers
import uvloop

from dual_mode_streaming import streams
from dual_mode_streaming.bridges import iterate_sync

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}

Source = Callable[[int], AsyncIterator[int]]


async def ready(n: int) -> AsyncIterator[int]:
    for i in range(n):
        yield i


async def susp(n: int) -> AsyncIterator[int]:
    for i in range(n):
        await asyncio.sleep(0)
        yield i


async def read(stream: AsyncIterable[Any]) -> int:
    count = 0
    async for _ in stream:
        count += 1
    return count


@dataclass
class Case:
    """One row: how many items are delivered, and what each contender does to deliver them."""

    source: Source
    delivered: int
    contenders: dict[str, Callable[[], Awaitable[int] | int]]
    goal: float
    in_thread: bool = False  # the contenders block: they run without a loop
    bare: int = field(default=200_000)  # how many items the bare loop reads to be timed


def merged(merge: Any, k: int, source: Source, n: int) -> Callable[[], Awaitable[int]]:
    return lambda: read(merge(*(source(n // k) for _ in range(k))))


def parted(split: Any, k: int, n: int) -> Callable[[], Awaitable[int]]:
    async def run() -> int:
        return sum(await asyncio.gather(*map(read, split(ready(n // k), n=k))))

    return run


def one(operator: Any, source: Source, n: int) -> Callable[[], Awaitable[int]]:
    return lambda: read(operator(source(n)))


def burst(subscribers: int, n: int) -> dict[str, Callable[[], Awaitable[int]]]:
    """Items that are all there at once, to many readers."""
    each = n // subscribers

    async def ours() -> int:
        async with streams.Broadcast(ready(each), maxsize=each) as cast:
            readers = [cast.subscribe() for _ in range(subscribers)]
            return sum(await asyncio.gather(*map(read, readers)))

    return {"ours": ours, "queue each": lambda: peers.queue_each(ready(each), subscribers)}


async def keep(stream: AsyncIterable[int]) -> AsyncIterator[int]:
    async for item in stream:
        yield item


def staged(stream: AsyncIterable[int]) -> AsyncIterable[int]:
    stage = streams.Processor(keep)
    return (stage + stage + stage)(stream)


def plain(stream: AsyncIterable[int]) -> AsyncIterable[int]:
    return keep(keep(keep(stream)))


def cases() -> dict[str, Case]:
    """All rows; numbers of items are such that a contender takes some hundredths of a second."""
    n = 100_000

    def merging(k: int, source: Source, n: int, goal: float) -> Case:
        few = n // 10
        table = {
            "ours": merged(streams.merge, k, source, n),
            "genai": merged(peers.genai_merge, k, source, n),
            "genai 64": merged(peers.genai_merge_64, k, source, n),
            "aiostream": merged(peers.aiostream_merge, k, source, few),
            "anyio 64": merged(peers.anyio_merge, k, source, few),
        }
        return Case(source, n, table, goal)

    def splitting(k: int, n: int, goal: float) -> Case:
        table = {
            "ours": parted(streams.split, k, n),
            "genai": parted(peers.genai_split, k, n),
            "anyio 64": parted(peers.anyio_split, k, n // 10),
        }
        return Case(ready, n, table, goal)

    return {
        "merge2 ready": merging(2, ready, n, 0.35),
        "merge10 ready": merging(10, ready, n, 0.40),
        "merge100 susp": merging(100, susp, 20_000, 1.5),
        "split2 ready": splitting(2, n, 0.45),
        "split10 ready": splitting(10, n, 0.75),
        "concat2 ready": Case(
            ready,
            n,
            {
                "ours": merged(streams.concat, 2, ready, n),
                "genai": merged(peers.genai_concat, 2, ready, n),
                "aiostream": merged(peers.aiostream_concat, 2, ready, n // 10),
            },
            0.30,
        ),
        "hand-off, bound 64": Case(
            ready,
            n,
            {
                "ours": one(streams.buffer, ready, n),
                "genai": one(peers.genai_merge, ready, n),
                "asyncio.Queue": one(peers.queue_handoff, ready, n),
                "anyio 64": one(peers.anyio_merge, ready, n // 10),
            },
            0.35,
        ),
        "burst to 1,000": Case(ready, 4 * n, burst(1000, 4 * n), 0.55),
        "idle timeout, ready": Case(
            ready,
            n,
            {
                "ours": one(lambda s: streams.idle_timeout(s, 60), ready, n),
                "wait_for": one(peers.wait_for_timeout, ready, n // 10),
                "asyncio.timeout": one(peers.timeout_timeout, ready, n // 10),
            },
            0.30,
        ),
        "three stages": Case(
            ready,
            n,
            {
                "ours": one(staged, ready, n),
                "plain generators": one(plain, ready, n),
                "aiostream": one(peers.aiostream_stages, ready, n // 10),
                "genai p+p+p": one(peers.genai_stages, ready, n // 100),
            },
            0.30,
        ),
        "thread bridge, ready": Case(
            ready,
            n,
            {
                "ours": lambda: sum(1 for _ in iterate_sync(ready(n))),
                "queue.Queue(64)": lambda: peers.queue_bridge(ready(n // 10)),
                "janus": lambda: peers.janus_bridge(ready(n // 10)),
            },
            0.45,
            in_thread=True,
        ),
    }


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def rate(loop: str, run: Callable[[], Awaitable[int] | int], in_thread: bool = False) -> float:
    """Items a second."""
    if in_thread:
        with quiet():
            start = time.perf_counter()
            count = run()
            assert isinstance(count, int)
            return count / (time.perf_counter() - start)

    async def timed() -> float:
        with quiet():
            start = time.perf_counter()
            count = await run()  # type: ignore[misc]
            return count / (time.perf_counter() - start)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(timed())


def measure(loop: str, case: Case, rounds: int) -> dict[str, list[float]]:
    """The ratios of each contender, one a round."""
    ratios: dict[str, list[float]] = {name: [] for name in case.contenders}
    bare = case.bare if case.source is ready else case.bare // 10
    for number in range(rounds):
        names = list(case.contenders)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            limit = rate(loop, lambda: read(case.source(bare)))
            got = rate(loop, case.contenders[name], case.in_thread)
            ratios[name].append(got / limit)
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", help="rows whose name contains this")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()

    versions = [f"{p} {metadata.version(p)}" for p in peers.PACKAGES]
    print(f"CPython {platform.python_version()}, {', '.join(versions)}")
    print("times the speed of a bare `async for`; median [lowest to highest]\n")
    figures: dict[str, Any] = {}
    for name, case in cases().items():
        if options.only and options.only not in name:
            continue
        for loop in ("asyncio",) if case.in_thread else LOOPS:
            ratios = measure(loop, case, options.rounds)
            figures[f"{name} | {loop}"] = {"goal": case.goal, "ratios": ratios}
            ours = statistics.median(ratios["ours"])
            best = max(statistics.median(r) for peer, r in ratios.items() if peer != "ours")
            verdict = "met" if ours >= case.goal else f"MISSED by {1 - ours / case.goal:.0%}"
            print(
                f"{name}, {loop}: goal {case.goal:.2f} {verdict}; {ours / best:.1f} x the best peer"
            )
            for peer, values in ratios.items():
                spread = f"[{min(values):.3f} to {max(values):.3f}]"
                print(f"    {peer:18} {statistics.median(values):7.3f}  {spread}")
            sys.stdout.flush()
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)


if __name__ == "__main__":
    main()
