"""Mixed readers against two services on one Redis, for long; nothing may be lost, left or growing.

    python -m tests.soak [--seconds 600] [--readers 32] [--memory 20] [--seed N]

So many readers at a time take batches, streams, lines, feeds, chats, channels and the streams of
front ends, quickly and slowly; they vanish, stall, are cut and come again. First all kinds of
them warm the services up. Then what is open in the idle services is noted, the readers go on for
so many seconds, and what is open must be the same again when they have left. The exit code is 1
if anything is lost, comes twice, in another order or altered, if a stream does not end as it
should, if anything is left open, or if the memory grows by more than `--memory` MB an hour. Below
a minute its growth is told, and not judged.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.faults.checks import WRONG
from tests.faults.workers import Line
from tests.stores.redis_server import RedisServer

from .observed import ObservedService
from .readers import Readers
from .slope import Slope, slope

JUDGED = 60
"""Seconds from which on a rise of the memory can be told from what is only being filled."""


WARM = 60
"""Seconds of reading before it is measured, if so long is measured: what is filled once is full."""


class Soak:
    """One run, on a Redis of its own."""

    def __init__(self, workers: list[ObservedService], seed: int) -> None:
        self.workers = workers
        self.leaks: list[str] = []
        self._memory: list[list[tuple[float, float]]] = [[] for _ in workers]
        self._dice = random.Random(seed)

    async def run(self, seconds: float, readers: int) -> Readers:
        """Warm up, note what is open, read, and compare it."""
        line = Line(self, mean=8000, seed=self._dice.randrange(10**6))
        async with line:
            soaking = Readers(self.workers, line, self._dice)
            await asyncio.gather(*(soaking.one(kind) for kind in soaking.kinds * 2))
            await self._read(soaking, max(seconds / 4, min(seconds, WARM)), readers)
            before = await asyncio.gather(
                *(asyncio.to_thread(worker.settled) for worker in self.workers)
            )
            blocks = [worker.blocks for worker in self.workers]
            watching = asyncio.create_task(self._watch())
            await self._read(soaking, seconds, readers)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            soaking.counts["line cuts"] = line.cuts
        after = await asyncio.gather(
            *(
                asyncio.to_thread(worker.settled, was)
                for worker, was in zip(self.workers, before, strict=True)
            )
        )
        for number, (was, left) in enumerate(zip(before, after, strict=True), 1):
            told = ", ".join(f"{name} {was[name]} → {left[name]}" for name in left)
            print(f"worker {number}: {told}; {self._memory_of(number - 1)}", end="; ")
            print(f"{self.workers[number - 1].blocks - blocks[number - 1]:+,} blocks")
            grown = [name for name in left if left[name] > was[name]]
            self.leaks += [f"worker {number} has more {name} than before" for name in grown]
            if left.get("streams"):
                self.leaks.append(f"worker {number} has open streams")
        return soaking

    def rises(self) -> list[Slope]:
        """The memory of each worker over time."""
        return [slope(samples) for samples in self._memory]

    def _memory_of(self, number: int) -> str:
        samples = self._memory[number]
        sizes = [f"{size:.1f}" for _, size in samples[:: max(1, len(samples) // 5)]]
        return f"memory {' '.join(sizes)} MB, {slope(samples)}"

    async def _read(self, soaking: Readers, seconds: float, readers: int) -> None:
        until = time.monotonic() + seconds

        async def some() -> None:
            while time.monotonic() < until:
                await soaking.one()

        await asyncio.gather(*(some() for _ in range(readers)))

    async def _watch(self) -> None:
        while True:
            now = time.monotonic()
            for worker, samples in zip(self.workers, self._memory, strict=True):
                samples.append((now, worker.memory()))
            await asyncio.sleep(0.5)


def run(seconds: float, readers: int, memory: float, seed: int) -> bool:
    """Soak, and print what came of it. Out: whether all was well."""
    print(f"seed {seed}: {readers} readers at a time for {seconds:g} s", flush=True)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        redis = RedisServer(Path(folder))
        stack.callback(redis.kill)
        redis.start()
        with ThreadPoolExecutor() as threads:
            workers = list(threads.map(ObservedService, [redis.url] * 2))
        for worker in workers:
            stack.callback(worker.kill)
        soak = Soak(workers, seed)
        began = time.monotonic()
        soaking = asyncio.run(soak.run(seconds, readers))
        lasted = time.monotonic() - began
        problems = soaking.problems + soak.leaks
        problems += [f"a worker ended with {code}" for w in workers if (code := w.stop())]
    counts = soaking.counts
    if seconds >= JUDGED:
        rises = [rise for rise in soak.rises() if rise.exceeds(memory)]
        problems += [f"the memory grows: {rise}, and {memory:g} MB/h is allowed" for rise in rises]
    else:
        print(f"(in less than {JUDGED} s a growth of the memory is not judged)")
    for kind in soaking.kinds:
        print(f"{kind.__name__:14}{counts[kind.__name__]:8,}")
    for name in ("streams", "events", "cuts", "line cuts", "returns", "stalls"):
        print(f"{name:14}{counts[name]:8,}")
    wrong = (*WRONG, "altered")
    for name in wrong:
        print(f"{name:14}{counts[name]:8,}")
    print(f"{'seconds':14}{lasted:8,.0f}")
    for problem in problems[:50]:
        print(problem)
    return not problems and not any(counts[name] for name in wrong)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--readers", type=int, default=32, help="at a time")
    parser.add_argument("--memory", type=float, default=20, help="MB an hour that are allowed")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    told = parser.parse_args()
    sys.exit(0 if run(told.seconds, told.readers, told.memory, told.seed) else 1)


if __name__ == "__main__":
    main()
