"""The cost of recorded streams: to record, to replay, to share among readers, to keep idle.

    python benchmarks/recordings.py [--records 100000] [--readers 1000] [--streams 5000]

Everything runs in one process, through the responses, without sockets, so that only this package is
measured. A Redis server is started for it. Compare ratios, and CPU time rather than wall time: the
cores may be shared.
"""

import argparse
import asyncio
import contextlib
import functools
import gc
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from stores_redis import cpu_of, redis_server

from dual_mode_streaming import dual_mode, install
from dual_mode_streaming.stores import Limits, MemoryStore, RedisStore, SQLiteStore, Store

ACCEPT = (b"accept", b"text/event-stream")


class Bench:
    """An app with three endpoints: small items, recorded and not, and an idle recorded stream."""

    def __init__(self, store: Store, records: int) -> None:
        self.app = FastAPI()
        self.gate = asyncio.Event()
        self.pace: tuple[int, float] = (0, 0.0)
        install(self.app, store=store)

        async def items(upto: int = records) -> AsyncIterator[dict[str, int]]:
            for n in range(upto):
                if self.pace[0] and n % self.pace[0] == 0:
                    await asyncio.sleep(self.pace[1])
                yield {"n": n}

        async def idle() -> AsyncIterator[int]:
            yield 0
            await self.gate.wait()

        self.app.get("/recorded")(dual_mode(record=True, heartbeat=None)(items))
        self.app.get("/plain")(dual_mode(heartbeat=None)(items))
        self.app.get("/idle")(dual_mode(record=True)(idle))

    async def get(self, url: str, *more: tuple[bytes, bytes]) -> tuple[int, str]:
        """Send a request and drop its answer. Returns the number of events, and the location."""
        path, _, query = url.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": query.encode(),
            "headers": [ACCEPT, *more],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        count, location = 0, ""
        received = False

        async def receive() -> dict[str, Any]:
            nonlocal received
            if not received:
                received = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: dict[str, Any]) -> None:
            nonlocal count, location
            if message["type"] == "http.response.start":
                location = dict(message["headers"]).get(b"location", b"").decode()
            count += message.get("body", b"").count(b"data: ")

        await self.app(scope, receive, send)
        return count, location


@contextlib.asynccontextmanager
async def bench(store: Store, records: int = 0) -> AsyncIterator[Bench]:
    """Run the app in this context."""
    made = Bench(store, records)
    async with made.app.router.lifespan_context(made.app):
        yield made


async def timed(work: Awaitable[Any]) -> tuple[Any, float, float]:
    """Return the result, the seconds and the seconds of CPU."""
    began, cpu = time.perf_counter(), time.process_time()
    result = await work
    return result, time.perf_counter() - began, time.process_time() - cpu


async def best(work: Callable[[], Awaitable[Any]]) -> tuple[Any, float, float]:
    """Return the fastest of three runs."""
    return min([await timed(work()) for _ in range(3)], key=lambda result: result[1])


async def replays(stores: dict[str, Callable[[], Store]], records: int) -> None:
    print(f"\n{records} small items as SSE          seconds of CPU  events/s")

    def report(name: str, seconds: float, cpu: float) -> None:
        print(f"  {name:34} {seconds:7.2f} {cpu:7.2f} {records / seconds:9.0f}")

    for name, store in stores.items():
        async with bench(store(), records) as app:
            if name == "memory":
                report("not recorded", *(await best(lambda: app.get("/plain")))[1:])
            (_, location), *times = await best(lambda: app.get("/recorded"))
            report(f"live and recorded, {name}", *times)
            report(f"replayed, {name}", *(await best(functools.partial(app.get, location)))[1:])


async def shared(stores: dict[str, Callable[[], Store]], readers: int) -> None:
    events, pace = 200, (5, 0.05)
    print(f"\n{readers} readers, {events} events each    µs of CPU per event delivered")
    total = readers * events
    for name, store in stores.items():
        async with bench(store(), events) as app:
            app.pace = pace
            if name == "memory":
                many = asyncio.gather(*(app.get("/plain") for _ in range(readers)))
                _, _, cpu = await timed(many)
                print(f"  each its own stream, not recorded    {cpu / total * 1e6:7.2f}")
            first, location = await _begun(app)
            results, _, cpu = await timed(
                asyncio.gather(*(app.get(location) for _ in range(readers)))
            )
            await first
            assert {result[0] for result in results} == {events + 1}
            print(f"  one recorded stream, {name:15} {cpu / total * 1e6:7.2f}")


async def _begun(app: Bench) -> tuple[asyncio.Task[tuple[int, str]], str]:
    """Start a recorded stream. Returns the task of its first reader, and its path."""
    recordings = app.app.state.dual_mode_recordings.recordings_in()
    first = asyncio.create_task(app.get("/recorded"))
    while not recordings.producing:  # noqa: ASYNC110
        await asyncio.sleep(0)
    (stream,) = recordings.producing
    return first, f"/streams/{stream}"


async def idle(stores: dict[str, Callable[[], Store]], streams: int, seconds: float) -> None:
    print(f"\n{streams} live idle recorded streams        share of a core")
    for name, store in stores.items():
        for read in (False, True):
            async with bench(store()) as app:
                headers = () if read else ((b"prefer", b"respond-async"),)
                open_ = [asyncio.create_task(app.get("/idle", *headers)) for _ in range(streams)]
                await asyncio.sleep(15)  # until all have started, and their timers are spread
                gc.collect()
                gc.freeze()  # as the service does
                _, took, cpu = await timed(asyncio.sleep(seconds))
                print(f"  {name}, {'one reader each' if read else 'unread':22} {cpu / took:7.1%}")
                app.gate.set()
                await asyncio.gather(*open_)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--readers", type=int, default=1_000)
    parser.add_argument("--streams", type=int, default=5_000)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--only", choices=["replays", "shared", "idle"])
    arguments = parser.parse_args()
    with redis_server() as (url, server), tempfile.TemporaryDirectory() as folder:
        limits = Limits(streams=1_000_000)
        stores: dict[str, Callable[[], Store]] = {
            "memory": lambda: MemoryStore(limits),
            "sqlite": lambda: SQLiteStore(Path(folder) / f"{time.time_ns()}.db", limits),
            "redis": lambda: RedisStore(url, limits, prefix=f"bench-{time.time_ns()}"),
        }
        parts = {
            "replays": lambda: replays(stores, arguments.records),
            "shared": lambda: shared(stores, arguments.readers),
            "idle": lambda: idle(stores, arguments.streams, arguments.seconds),
        }
        for name, part in parts.items():
            if arguments.only in (None, name):
                asyncio.run(part())
        print(f"\nRedis itself took {cpu_of(server)[0]:.1f} s of CPU")


if __name__ == "__main__":
    main()
