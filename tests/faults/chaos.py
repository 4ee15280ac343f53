"""Streams of all kinds under random faults, on SQLite, Redis and Sentinel; nothing may be lost.

    python -m tests.faults.chaos [--seconds 300] [--streams N] [--stores …] [--seed N]

On each store there are some streams at a time: recordings, channels, useChat, AG-UI, and responses
in the background. `random_faults.py` has the faults. Each stream is compared with what is due. The
exit code is 1 if anything is lost, repeated, altered or out of order and no `reset` said so, if a
stream does not end, if an ended one is shown as running, or if anything is left open at the end.
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
from pathlib import Path

import httpx

from dual_mode_streaming.client import AnswerError, ConnectionFailed
from dual_mode_streaming.testing import read_events
from tests.stores.redis_server import RedisServer
from tests.stores.replicated import Replicated

from .app import items_of
from .channels import ChannelRun
from .checks import WRONG, differences
from .cluster import StoreCluster
from .front_ends import answer_to, front_end
from .random_faults import RandomFaults
from .workers import Line, Reader, http_to
from .writer import WriterProcess

AT_ONCE = 8
SIZE = 24
STREAM_TIMEOUT = 300  # seconds after which a stream counts as endless
STORES = ("sqlite", "redis", "sentinel")
KINDS = ("items", "items", "once", "channel", "front_end", "front_end", "front_end")
FLAGS = ("--appendonly", "yes", "--appendfsync", "everysec", "--aof-load-truncated", "yes")


class Chaos:
    """The streams and the faults of one store."""

    def __init__(self, stage: StoreCluster, seed: int, deadline: float, pause: float) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.problems: list[str] = []
        self.slowest = (0.0, "")  # seconds, and what
        self.left = ""
        self._stage = stage
        self._random = random.Random(seed)
        self._deadline = deadline
        self._pause = pause
        self._steady = asyncio.Lock()
        self._writer = WriterProcess(stage.store)

    async def run(self, streams: int) -> None:
        """Read this number of streams, or fewer if the time is over."""
        self._stage.all_up()
        idle = await self._open()
        numbers = iter(range(streams))
        mean = None if self._stage.replicated else 20_000
        async with Line(self._stage, mean=mean, seed=self._random.randrange(10**6)) as line:
            await self._writer.start()
            causing = RandomFaults(
                self._stage, line, self._writer, self._steady, self._random, self._pause
            )
            faults = asyncio.create_task(causing.run())

            async def some() -> None:
                for number in numbers:
                    if time.monotonic() > self._deadline:
                        break
                    await self._stream(line, number)

            try:
                await asyncio.gather(*(some() for _ in range(min(AT_ONCE, streams))))
            finally:
                causing.stop()
                (failure,) = await asyncio.gather(faults, return_exceptions=True)
                await self._writer.close()
            if failure is not None:
                self._tell(f"the faults ended early: {failure!r}")
            self.faults = causing.counts + Counter(cut=line.cuts)
        await self._check_nothing_is_left(idle)

    async def _stream(self, line: Line, number: int) -> None:
        """Read one of any kind. What goes wrong is a problem, and raises nothing."""
        kind = self._random.choice(KINDS)
        began = time.monotonic()
        try:
            async with asyncio.timeout(STREAM_TIMEOUT):
                if kind == "channel":
                    await self._channel(line)
                elif kind == "front_end":
                    await self._front_end(line)
                else:
                    await self._recording(line, kind, number)
        except Exception as error:
            self._tell(f"{kind} {number}: {error!r}")
        self.counts["streams"] += 1
        self.counts[kind] += 1
        self.slowest = max(self.slowest, (time.monotonic() - began, kind))

    def _tell(self, problem: str) -> None:
        print(problem[:1500], flush=True)
        self.problems.append(problem)

    def _lossy(self, since: float) -> bool:
        """Whether the store has lost what it took, since then."""
        return any(end > since for _, end in self._stage.losses)

    async def _channel(self, line: Line) -> None:
        run = ChannelRun(self._stage, line, self._writer, self._steady, self._random)
        began = time.monotonic()
        try:
            await run.run()
        except AnswerError as error:  # the store has lost its beginning, too
            if getattr(error, "status", None) not in (404, 410) or not self._lossy(began):
                raise
            self.counts["told"] += 1
        finally:
            self.counts += run.counts
            for problem in run.problems:
                self._tell(problem)

    async def _recording(self, line: Line, name: str, number: int) -> None:
        count = self._random.randrange(50, 400)
        pause = self._random.choice([0.001, 0.005, 0.02])
        path = f"/{name}?seed={number}&count={count}&size={SIZE}&pause={pause}"
        began = time.monotonic()
        reader = Reader(line.url, path)
        outcome = None
        try:
            outcome = await reader.ended()
            await self._check_end(reader, outcome, began)
        except AnswerError as error:
            gone = getattr(error, "status", None) in (404, 410)
            if isinstance(error, ConnectionFailed) and not reader.ever:
                self.counts["refused"] += 1  # no worker was there to start it
            elif gone and self._lossy(began):
                self.counts["told"] += 1
            else:
                self._tell(f"{path}: {error!r} after {len(reader.seen)} items")
            return
        finally:
            await reader.aclose()
        self._compare(reader, items_of(number, count, SIZE), whole=outcome == "done")
        lossy = self._lossy(began)
        self.counts["told" if lossy else "resets"] += len(reader.resets)
        self.counts[str(outcome)] += 1
        if outcome != "done" and (name == "items" or outcome != "interrupted") and not lossy:
            self._tell(f"{path} ended as {outcome}")

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

    async def _check_end(self, reader: Reader, outcome: str | None, began: float) -> None:
        """Check that a worker shows the ended stream as ended."""
        for _ in range(200):
            up = [worker for worker in self._stage.workers if worker.is_up]
            with contextlib.suppress(httpx.HTTPError, IndexError):
                url = self._random.choice(up).url
                async with http_to(url) as http:
                    status = (await http.get(reader.path)).status_code
                if status != 503:
                    break
            await asyncio.sleep(0.1)
        else:
            self._tell(f"no worker answers for {reader.path}")
            return
        if status != (200 if outcome == "done" else 409) and not self._lossy(began):
            self._tell(f"{reader.path} is {status} after it ended as {outcome}")

    async def _front_end(self, line: Line) -> None:
        """Ask and read as the front end's client does, and perhaps stop it."""
        stream = front_end(self._random)
        expected = await answer_to(stream.question)
        stops = self._random.random() < 0.15
        began, name = time.monotonic(), type(stream).__name__
        while not stream.ended:
            with contextlib.suppress(httpx.HTTPError):
                async with (
                    http_to(line.url) as http,
                    http.stream(**stream.request()) as answer,
                ):
                    if answer.status_code in (204, 404, 410):
                        fine = stream.missing(answer.status_code) or self._lossy(began)
                        if not fine:
                            self._tell(f"{name}: {answer.status_code} on its way")
                        if not fine or answer.status_code != 204:
                            self.counts["told"] += fine
                            return
                    elif answer.status_code == 200:
                        async for event in read_events(answer):
                            stream.take(event)
                            if stops and len(stream.text) > 20:
                                stops = False
                                await http.post(stream.stop())
                    elif answer.status_code < 500:
                        await answer.aread()
                        if self._lossy(began):  # it has seen what the store has not any more
                            self.counts["told"] += 1
                            return
                        self._tell(f"{name}: {answer.status_code} {answer.text}")
                        return
            await asyncio.sleep(0.03)
            if not expected.startswith(stream.text):
                self._tell(f"{name}: {stream.text!r} and not {expected!r}")
                return
        self.counts["events"] += 1
        self.counts[f"{name} {stream.ended}"] += 1
        if stream.wrong and not self._lossy(began):
            self._tell(f"{name}: {stream.wrong}")
        if stream.ended == "whole" and stream.text != expected:
            self._tell(f"{name} ended as whole after {stream.text!r}, not {expected!r}")

    async def _open(self) -> list[dict[str, int]]:
        """Return what is open in each worker."""
        found = []
        for worker in self._stage.workers:
            async with http_to(worker.url) as http:
                found.append((await http.get("/left", timeout=20)).json())
        return found

    async def _check_nothing_is_left(self, idle: list[dict[str, int]]) -> None:
        """Wait until the workers, which are idle now, have as little open as in the beginning."""
        await asyncio.to_thread(self._stage.all_up)
        most = {"answers": 0, "tasks": max(one["tasks"] for one in idle) + 3, "descriptors": 60}
        for _ in range(120):
            left = await self._open()
            grown = [one for one in left if any(one[name] > most[name] for name in most)]
            if not grown:
                break
            await asyncio.sleep(0.5)
        self.left = f"{idle} → {left}"
        for one in grown:
            self._tell(f"left open: {one}, in the beginning {idle}")


def stage_of(store: str, folder: Path, stack: contextlib.ExitStack) -> StoreCluster:
    """Return two workers on a store of a kind, which are ended with the stack."""
    (folder / store).mkdir()
    if store == "sqlite":
        stage = StoreCluster(file=folder / store / "file")
    elif store == "redis":
        redis = RedisServer(folder / store, *FLAGS)
        stack.callback(redis.kill)
        redis.start()
        stage = StoreCluster(redis=redis)
    else:
        replicated = Replicated(folder / store)
        stack.callback(replicated.close)
        stage = StoreCluster(replicated=replicated)
    stack.callback(stage.close)
    return stage


async def run(
    seconds: float, streams: int, seed: int, stores: list[str], pause: float = 0.06
) -> bool:
    """Run on all stores at once. Returns whether nothing was lost, wrong or left."""
    print(f"seed {seed}: on {', '.join(stores)} for {seconds:g} s at most", flush=True)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        stages = [stage_of(store, Path(folder), stack) for store in stores]
        began = time.monotonic()
        deadline = began + seconds - min(60, 0.2 * seconds)  # the rest is for the streams to end
        parts = [Chaos(stage, seed + n, deadline, pause) for n, stage in enumerate(stages)]
        async with asyncio.timeout(seconds + 2 * STREAM_TIMEOUT):
            await asyncio.gather(*(part.run(-(-streams // len(parts))) for part in parts))
        lasted = time.monotonic() - began
    total: Counter[str] = sum((part.counts for part in parts), Counter())
    faults: Counter[str] = sum((part.faults for part in parts), Counter())
    for name, part in zip(stores, parts, strict=True):
        told = ", ".join(f"{count} {fault}" for fault, count in sorted(part.faults.items()))
        print(f"{name}: {told}; the slowest: {part.slowest[0]:.1f} s, {part.slowest[1]}")
        print(f"  left: {part.left}")
    wrong = (*WRONG, "altered", "resets")
    print(", ".join(f"{count} {name}" for name, count in sorted(faults.items())))
    print(f"{faults.total()} faults in {lasted:.0f} s")
    for name in sorted({*total} - {*wrong}):
        print(f"{name:24}{total[name]:10,}")
    for name in wrong:
        print(f"{name:24}{total[name]:10,}")
    problems = [problem for part in parts for problem in part.problems]
    print(f"{'problems':24}{len(problems):10,}")
    return not problems and not any(total[name] for name in wrong) and total["streams"] > 0


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--streams", type=int, default=10**9)
    parser.add_argument("--stores", nargs="+", choices=STORES, default=list(STORES))
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    whole = run(given.seconds, given.streams, given.seed, given.stores)
    sys.exit(0 if asyncio.run(whole) else 1)


if __name__ == "__main__":
    main()
