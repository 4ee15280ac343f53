"""Measure the Redis store: appends in batches beside single ones, and idle streams.

    python benchmarks/stores_redis.py [--events 20000] [--streams 5000] [--rounds 5]

It starts a Redis on a socket in a temporary folder. The ratios are more reliable than the rates,
because the server and this process share the cores of the machine.
"""

import argparse
import asyncio
import contextlib
import resource
import secrets
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from redis.asyncio import Redis

from dual_mode_streaming.stores import Limits, NewStream, RedisStore

PAYLOAD = b"x" * 120
BATCH = 100
LEASE = 10.0


@contextlib.contextmanager
def redis_server() -> Iterator[tuple[str, psutil.Process]]:
    """Start a Redis without persistence. Yields its URL and its process."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("redis-server is not there")
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "socket"
        options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--logfile", "log"]
        with subprocess.Popen([program, *options, "--dir", folder]) as process:
            try:
                while not socket.exists():
                    time.sleep(0.01)
                yield f"unix://{socket}", psutil.Process(process.pid)
            finally:
                process.terminate()


def cpu_of(server: psutil.Process) -> tuple[float, float]:
    """Return the CPU seconds that the server and this process have used."""
    times, own = server.cpu_times(), resource.getrusage(resource.RUSAGE_SELF)
    return times.user + times.system, own.ru_utime + own.ru_stime


async def redis_single(url: str, events: int) -> float:
    """Return events a second, with one awaited XADD for each."""
    async with Redis.from_url(url, protocol=2) as client:
        key = secrets.token_hex(8)
        start = time.perf_counter()
        for _ in range(events):
            await client.xadd(key, {"g": 1, "p": PAYLOAD})
        return events / (time.perf_counter() - start)


async def redis_batched(url: str, events: int, batch: int) -> float:
    """Return events a second by the store, with `batch` events in a call."""
    store = RedisStore(url)
    try:
        stream = await store.create(NewStream(stream=secrets.token_hex(16), operation="bench"))
        start = time.perf_counter()
        for first in range(1, events + 1, batch):
            await store.append(stream, 1, first, [PAYLOAD] * batch)
        return events / (time.perf_counter() - start)
    finally:
        await store.aclose()


async def redis_many(url: str, streams: int, rounds: int) -> float:
    """Return appends a second, with one event each, by many streams at once."""
    store = RedisStore(url)

    async def write(stream: str) -> None:
        await store.create(NewStream(stream=stream, operation="bench"))
        for number in range(1, rounds + 1):
            await store.append(stream, 1, number, [PAYLOAD])

    try:
        start = time.perf_counter()
        await asyncio.gather(*(write(secrets.token_hex(16)) for _ in range(streams)))
        return streams * rounds / (time.perf_counter() - start)
    finally:
        await store.aclose()


async def redis_idle(url: str, server: psutil.Process, streams: int) -> tuple[float, float]:
    """Return the load of the server and of this process, as shares of a core.

    The streams only renew their leases. Each has a subscriber, and the renewals are spread over a
    third of the lease.
    """
    store = RedisStore(url, Limits(lease=LEASE))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(store.aclose)
        ids = [secrets.token_hex(16) for _ in range(streams)]
        for stream in ids:
            await store.create(NewStream(stream=stream, operation="bench"))
            await stack.enter_async_context(store.subscribe(stream, lambda: None))

        async def renew(stream: str, number: int, until: float) -> None:
            await asyncio.sleep(LEASE / 3 * number / streams)
            while time.perf_counter() < until:
                await store.append(stream, 1, 1, ())
                await asyncio.sleep(LEASE / 3)

        start, before = time.perf_counter(), cpu_of(server)
        await asyncio.gather(
            *(renew(stream, number, start + LEASE * 0.99) for number, stream in enumerate(ids))
        )
        took, after = time.perf_counter() - start, cpu_of(server)
        return (after[0] - before[0]) / took, (after[1] - before[1]) / took


async def measure(events: int, streams: int, rounds: int) -> None:
    """Measure, and print the results."""
    with redis_server() as (url, server):
        ratios = []
        for _ in range(rounds):  # in turns, so that both have the same conditions
            single = await redis_single(url, events // 4)
            batched = await redis_batched(url, events, BATCH)
            ratios.append(batched / single)
        ten = await redis_batched(url, events, 10)
        print(f"redis   one XADD awaited for each event  {single:>9,.0f} events/s")
        print(f"redis   append, 10 a call                {ten:>9,.0f} events/s")
        print(f"redis   append, {BATCH} a call               {batched:>9,.0f} events/s")
        many = await redis_many(url, 500, 20)
        print(f"redis   append, 1 a call, 500 streams    {many:>9,.0f} events/s")
        low, high = min(ratios), max(ratios)
        print(
            f"redis   ratio, {BATCH} a call: {statistics.median(ratios):.1f} ({low:.1f}-{high:.1f})"
        )
        theirs, ours = await redis_idle(url, server, streams)
        print(
            f"redis   {streams:,} idle streams, each with a subscriber and a lease of {LEASE:g} s: "
            f"server {theirs:.1%} of a core, this process {ours:.1%}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--streams", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(measure(given.events, given.streams, given.rounds))
