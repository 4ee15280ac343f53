"""The cost of channels: many readers of one, many with a reader each, beside raw ASGI.

    python benchmarks/channels.py [--readers 5000] [--channels 5000] [--seconds 8] [--only PART]

A Redis, the workers and the readers are processes of this machine, on loopback. The readers, the
Redis and the workers share its cores, so CPU a delivery is compared, and its ratio to that of raw
ASGI which sends ready bytes to the same readers in the same run. Raw ASGI has no history, no store
and no other process: it is the floor.
"""

import argparse
import asyncio
import contextlib
import os
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from contender import Contender, running
from contenders.channel import Message, messages
from load import Reader, connect
from redis.asyncio import Redis
from stores_redis import cpu_of, redis_server

from dual_mode_streaming import Channel
from dual_mode_streaming.stores import Limits, RedisStore


@dataclass
class Load:
    """What a run delivered, and what it cost."""

    deliveries: int = 0
    expected: int = 0
    cpu: float = 0.0
    late: list[float] = field(default_factory=list)
    connections: int = 0

    @property
    def each(self) -> float:
        """µs of CPU of the workers for one delivery."""
        return self.cpu / max(self.deliveries, 1) * 1e6

    def percentile(self, part: float) -> float:
        """A percentile of the time from publish to delivery, in ms."""
        late = sorted(self.late) or [float("nan")]
        return late[int(len(late) * part)] * 1e3

    def __str__(self) -> str:
        return (
            f"{self.each:7.1f} µs a delivery, {self.deliveries} of {self.expected} delivered, "
            f"p50 {self.percentile(0.5):.1f} ms, p99 {self.percentile(0.99):.1f} ms"
        )


async def watching(worker: Contender, names: list[str], late: list[float]) -> list[Reader]:
    """Open a reader of each name; each has had its first message."""
    readers = []
    for start in range(0, len(names), 100):
        some = [await connect(worker.port) for _ in names[start : start + 100]]
        for reader, name in zip(some, names[start : start + 100], strict=True):
            reader.get(f"/watch/{name}")
        async with asyncio.timeout(60):
            await asyncio.gather(*(reader.begun.wait() for reader in some))
        readers += some
    for reader in readers:
        reader.late, reader.events = late, 0
    return readers


async def publishing(names: list[str], rate: float, seconds: float) -> int:
    """Publish so many messages a second, to one name after the other. Returns their number."""
    start, count = time.monotonic(), int(rate * seconds)
    tasks: set[asyncio.Task[str]] = set()
    for number in range(count):
        due = start + number / rate
        if (left := due - time.monotonic()) > 0:
            await asyncio.sleep(left)
        message = Message(due=due, index=number)
        name = names[number % len(names)]
        tasks.add(task := asyncio.create_task(messages_at[0].publish(message, name=name)))
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return count


async def loaded(
    workers: list[Contender],
    names: list[str],
    rate: float,
    seconds: float,
    tell: Callable[[], Awaitable[int]],
    url: str = "",
) -> Load:
    """Have readers of names on each worker, and deliver to them."""
    load = Load()
    readers = [reader for worker in workers for reader in await watching(worker, names, load.late)]
    await asyncio.sleep(1)  # their answers wait by then
    before = sum(worker.cpu for worker in workers)
    count = await tell()
    load.expected = count * len(readers) // len(set(names))
    async with asyncio.timeout(60):
        while sum(reader.events for reader in readers) < load.expected:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    if url:
        load.connections = await connections(url)
    load.cpu = sum(worker.cpu for worker in workers) - before
    load.deliveries = sum(reader.events for reader in readers)
    for reader in readers:
        reader.transport.abort()
    return load


@contextlib.asynccontextmanager
async def channel_workers(count: int, url: str) -> AsyncIterator[list[Contender]]:
    os.environ["BENCH_REDIS"] = url
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(running("channel")) for _ in range(count)]


async def beside_raw(url: str, names: list[str], rate: float, seconds: float) -> Load:
    """The same load on channels and on raw ASGI."""
    shown = sorted(set(names))
    for name in shown:
        await messages_at[0].publish(Message(due=0, index=0), name=name)
    async with channel_workers(1, url) as workers:
        rendered = 0

        async def publish() -> int:
            nonlocal rendered
            rendered = await of_worker(workers[0])
            return await publishing(shown, rate, seconds)

        load = await loaded(workers, names, rate, seconds, publish, url)
        rendered = await of_worker(workers[0]) - rendered
        published = int(rate * seconds)
        print(f"  channel   {load}")
        print(f"            {rendered} renderings of {published} messages")
        print(f"            {load.connections} subscription connections of the worker")
    async with running("raw_watch") as raw:

        async def tell() -> int:
            teller = await connect(raw.port)
            name = shown[0] if len(shown) == 1 else "all"
            await teller.get(f"/tell/{name}?rate={rate}&seconds={seconds}")
            return published

        floor = await loaded([raw], names, rate, seconds, tell)
        print(f"  raw ASGI  {floor}")
    print(f"  ratio     {load.each / floor.each:.2f}")
    return load


async def of_worker(worker: Contender) -> int:
    """How many messages a worker has rendered."""
    reader = await connect(worker.port)
    await reader.get("/rendered", accept="application/json")
    return int(bytes(reader.body))


async def connections(url: str) -> int:
    """How many connections subscribe, as Redis lists them; this process has none."""
    async with Redis.from_url(url) as redis:
        return len(await redis.client_list(_type="pubsub"))


messages_at: list[Channel[Message]] = []


@contextlib.asynccontextmanager
async def publisher(url: str) -> AsyncIterator[None]:
    """Publish to this Redis in this context."""
    store = RedisStore(url, Limits(streams=10**6))
    messages_at[:] = [Channel(messages.name, Message, store=store)]
    try:
        yield
    finally:
        await Channel.aclose()
        messages_at.clear()


async def fanout(arguments: argparse.Namespace) -> None:
    print(f"\n{arguments.readers} readers of one channel, 20 messages a second, one worker")
    with redis_server() as (url, _):
        async with publisher(url):
            await beside_raw(url, ["all-of-us"] * arguments.readers, 20, arguments.seconds)


async def each_its_own(arguments: argparse.Namespace) -> None:
    count = arguments.channels
    rate = min(1000.0, count)
    print(f"\n{count} channels with a reader each, {rate:g} messages a second, one worker")
    with redis_server() as (url, _):
        async with publisher(url):
            names = [f"own-{number}" for number in range(count)]
            await beside_raw(url, names, rate, arguments.seconds)


async def latency(arguments: argparse.Namespace) -> None:
    readers = min(1000, arguments.readers)
    print(f"\n{readers} readers of one channel, 5 messages a second: publish to deliver")
    with redis_server() as (url, _):
        async with publisher(url):
            await beside_raw(url, ["a"] * readers, 5, 2 * arguments.seconds)


async def workers(arguments: argparse.Namespace) -> None:
    readers = min(1000, arguments.readers // 2)
    print(f"\none and two workers on one Redis, {readers} readers each, 20 messages a second")
    each = []
    for count in (1, 2):
        with redis_server() as (url, server):
            async with publisher(url), channel_workers(count, url) as some:
                await messages_at[0].publish(Message(due=0, index=0), name="a")
                before, _ = cpu_of(server)
                load = await loaded(
                    *(some, ["a"] * readers, 20, arguments.seconds),
                    lambda: publishing(["a"], 20, arguments.seconds),
                )
                used = cpu_of(server)[0] - before
                each.append(load.each)
                print(f"  {count}: {load}; Redis {used / load.deliveries * 1e6:.2f} µs a delivery")
    print(f"  two workers serve {2 * each[0] / each[1]:.2f} times what one does, by their CPU")


async def masters(arguments: argparse.Namespace) -> None:
    """Publish as fast as one, and three, Redis take it; followers wait for each message."""
    for count in (1, 3):
        with contextlib.ExitStack() as servers:
            found = [servers.enter_context(redis_server()) for _ in range(count)]
            stores = [RedisStore(url, Limits(streams=10**6)) for url, _ in found]
            # A name is at the master that its digest says, as a Cluster's slot would.
            channels = [
                Channel("hold/{name}", int, store=stores[number % count]) for number in range(60)
            ]
            done, until = 0, time.perf_counter() + arguments.seconds
            before = sum(cpu_of(server)[0] for _, server in found)
            own = time.process_time()

            async def flood(number: int, channel: Channel[int], until: float = until) -> int:
                count = 0
                while time.perf_counter() < until:
                    await channel.publish(count, name=str(number))
                    count += 1
                return count

            done = sum(await asyncio.gather(*map(flood, range(60), channels)))
            own = time.process_time() - own
            used = sum(cpu_of(server)[0] for _, server in found) - before
            await Channel.aclose()
        print(
            f"  {count}: {done / arguments.seconds:7.0f} messages/s published by one process"
            f" ({own / done * 1e6:.0f} µs of its CPU each);"
            f" {used / done * 1e6:.1f} µs of Redis each: {count * done / used:,.0f}/s at its core"
        )


PARTS = {
    "fanout": fanout,
    "own": each_its_own,
    "latency": latency,
    "workers": workers,
    "masters": masters,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, default=5_000)
    parser.add_argument("--channels", type=int, default=5_000)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--only", choices=PARTS)
    arguments = parser.parse_args()
    needed = 2 * max(arguments.readers, arguments.channels) + 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        parser.error(f"{needed} open files are needed, and `ulimit -Hn` allows {hard}")
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    for name, part in PARTS.items():
        if arguments.only in (None, name):
            if name == "masters":
                print("\nwhat one Redis takes, and three, of 60 channels")
            asyncio.run(part(arguments))


if __name__ == "__main__":
    main()
