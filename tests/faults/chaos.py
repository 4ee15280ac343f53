"""Recorded streams under random faults, on SQLite and Redis; no event may be lost.

    python -m tests.faults.chaos [--seconds 300] [--streams 100] [--seed N]

Half of the streams are on each store, a dozen at a time. Connections are cut at random bytes.
Workers are killed, shut down, or suspended until they have lost their streams. Redis is restarted,
loses its subscribers, or pauses; the SQLite file is locked. Each stream is compared with an
uninterrupted run. The exit code is 1 if an event is lost, repeated or out of order, if a stream
does not end, or if an ended stream is shown as running.
"""

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

from dual_mode_streaming.client import ConnectionFailed
from tests.stores.redis_server import RedisServer

from .app import items_of
from .checks import WRONG, differences
from .cluster import StoreCluster
from .workers import LEASE, Line, Reader

AT_ONCE = 12
SIZE = 24
STREAM_TIMEOUT = 120  # seconds after which a stream counts as endless


class Chaos:
    """The streams and the faults of one store."""

    def __init__(self, stage: StoreCluster, seed: int, deadline: float) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.problems: list[str] = []
        self.slowest = (0.0, "")  # seconds beyond an uninterrupted run, and the path
        self._stage = stage
        self._random = random.Random(seed)
        self._deadline = deadline

    async def run(self, streams: int) -> None:
        """Read this number of streams, or fewer if the time is over."""
        self._stage.all_up()
        numbers = iter(range(streams))
        async with Line(self._stage, mean=20_000, seed=self._random.randrange(10**6)) as line:
            faults = asyncio.create_task(self._cause_faults())

            async def some() -> None:
                for number in numbers:
                    if time.monotonic() > self._deadline:
                        break
                    await self._stream(line, number)

            try:
                await asyncio.gather(*(some() for _ in range(min(AT_ONCE, streams))))
            finally:
                faults.cancel()
                (result,) = await asyncio.gather(faults, return_exceptions=True)
            if not isinstance(result, asyncio.CancelledError):
                self.problems.append(f"the faults ended early: {result!r}")
            self.counts["cuts"] += line.cuts
        self.counts["kills"] += self._stage.kills

    async def _stream(self, line: Line, number: int) -> None:
        name = self._random.choice(["items", "items", "once"])
        count = self._random.randrange(50, 400)
        pause = self._random.choice([0.001, 0.005, 0.02])
        query = f"seed={number}&count={count}&size={SIZE}&pause={pause}"
        reader = Reader(line.url, f"/{name}?{query}")
        began = time.monotonic()
        try:
            async with asyncio.timeout(STREAM_TIMEOUT):
                outcome = await reader.ended()
            await self._check_end(reader, outcome)
        except ConnectionFailed:  # no worker was there to start it
            self.counts["refused"] += 1
            return
        except Exception as error:
            self.problems.append(
                f"/{name}?{query}: {error!r} after {len(reader.seen)} items,"
                f" {reader.events.reconnects} returns; {await self._states(reader)}"
            )
            outcome = None
        finally:
            await reader.aclose()
        self._compare(reader, items_of(number, count, SIZE), whole=outcome == "done")
        self.counts["streams"] += 1
        lasted = time.monotonic() - began - count * pause
        self.slowest = max(self.slowest, (lasted, f"/{name}?{query}"))
        self.counts[str(outcome)] += 1
        if outcome != "done" and (name == "items" or outcome != "interrupted"):
            self.problems.append(f"/{name}?{query} ended as {outcome}")

    def _compare(self, reader: Reader, expected: list[str], *, whole: bool) -> None:
        given = [json.loads(data)["n"] for data in reader.data]
        due = len(expected) if whole else max(given, default=-1) + 1
        self.counts["events"] += len(given)
        self.counts["dropped"] += reader.events.duplicates
        self.counts.update(differences(given, due))
        self.counts["altered"] += sum(
            n >= len(expected) or data != expected[n]
            for n, data in zip(given, reader.data, strict=True)
        )
        self.counts["resets"] += len(reader.resets)

    async def _states(self, reader: Reader) -> list[str]:
        """Return what each worker answers for a stream that failed."""
        answers = []
        for worker in self._stage.workers:
            try:
                async with httpx.AsyncClient(base_url=worker.url, timeout=5) as http:
                    answers.append((await http.get(reader.path)).text[:200])
            except httpx.HTTPError as error:
                answers.append(repr(error))
        return answers

    async def _check_end(self, reader: Reader, outcome: str | None) -> None:
        """Check that a worker shows the ended stream as ended."""
        for _ in range(100):
            up = [worker for worker in self._stage.workers if worker.is_up]
            with contextlib.suppress(httpx.HTTPError, IndexError):
                url = self._random.choice(up).url
                async with httpx.AsyncClient(base_url=url, timeout=3) as http:
                    status = (await http.get(reader.path)).status_code
                if status != 503:
                    break
            await asyncio.sleep(0.1)
        else:
            self.problems.append(f"no worker answers for {reader.path}")
            return
        if status != (200 if outcome == "done" else 409):
            self.problems.append(f"{reader.path} is {status} after it ended as {outcome}")

    async def _cause_faults(self) -> None:
        """Cause one fault after another; all workers are up again before the next."""
        faults: list[Callable[[], Awaitable[None]]] = [
            self._kill,
            self._kill,
            self._suspend,
            self._slow,
            self._leave,
        ]
        faults += [self._restart] if self._stage.redis is None else [self._restart, self._deafen]
        while True:
            await asyncio.sleep(self._random.uniform(0.5, 2.5))
            fault = self._random.choice(faults)
            self.faults[fault.__name__.strip("_")] += 1
            await fault()

    async def _kill(self) -> None:
        number = self._random.randrange(len(self._stage.workers))
        self._stage.kill(number)
        await asyncio.to_thread(self._stage.all_up)

    async def _leave(self) -> None:
        number = self._random.randrange(len(self._stage.workers))
        await asyncio.to_thread(self._stage.workers[number].leave)
        self._stage.replace(number)
        await asyncio.to_thread(self._stage.all_up)

    async def _suspend(self) -> None:
        worker = self._random.choice(self._stage.workers)
        await asyncio.to_thread(self._stage.suspend, worker)
        try:
            await asyncio.sleep(self._random.uniform(0.2, 2.5) * LEASE)
        finally:
            worker.wake()

    async def _slow(self) -> None:
        def slow() -> None:
            with self._stage.slow(self._random.uniform(0.1, 0.5)):
                pass

        await asyncio.to_thread(slow)

    async def _restart(self) -> None:
        await asyncio.to_thread(self._stage.restart)
        await asyncio.to_thread(self._stage.all_up)

    async def _deafen(self) -> None:
        if self._stage.redis is not None:
            self._stage.redis.ask("CLIENT KILL TYPE pubsub")


async def run(seconds: float, streams: int, seed: int) -> bool:
    """Run on both stores at once. Returns whether no event was lost or wrong."""
    print(f"seed {seed}: {streams} streams in {seconds:g} s at most", flush=True)
    deadline = time.monotonic() + 0.8 * seconds  # the rest is for the streams to end
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        flags = ("--appendonly", "yes", "--appendfsync", "everysec")
        redis = RedisServer(Path(folder), *flags)
        stack.callback(redis.kill)
        redis.start()
        stages = [StoreCluster(file=Path(folder) / "file"), StoreCluster(redis=redis)]
        for stage in stages:
            stack.callback(stage.close)
        parts = [Chaos(stage, seed + n, deadline) for n, stage in enumerate(stages)]
        half = streams // 2
        async with asyncio.timeout(seconds + STREAM_TIMEOUT):
            await asyncio.gather(
                *(part.run(n) for part, n in zip(parts, (streams - half, half), strict=True))
            )
    for name, part in zip(("sqlite", "redis"), parts, strict=True):
        faults = ", ".join(f"{count} {fault}" for fault, count in sorted(part.faults.items()))
        print(f"{name}: {faults}; {part.slowest[0]:.1f} s late at most: {part.slowest[1]}")
    total: Counter[str] = sum((part.counts for part in parts), Counter())
    problems = [problem for part in parts for problem in part.problems]
    for name in ("streams", "done", "interrupted", "cuts", "kills", "events"):
        print(f"{name:12}{total[name]}")
    print(f"{'dropped':12}{total['dropped']}  (repeated events, which the client dropped)")
    wrong = (*WRONG, "altered", "resets")
    for name in wrong:
        print(f"{name:12}{total[name]}")
    for problem in problems:
        print(problem)
    return not problems and not any(total[name] for name in wrong) and total["streams"] > 0


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments = parser.parse_args()
    sys.exit(0 if asyncio.run(run(arguments.seconds, arguments.streams, arguments.seed)) else 1)


if __name__ == "__main__":
    main()
