"""Where the CPU of an event goes: the same stream, with one more part of its way at a time.

Each line is what a part adds to those before it; the last is what remains of the server's CPU. It
is to run in a process that has done nothing else: in a large one the garbage collector takes part.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from contenders.items import READY, Item

from dual_mode_streaming import DualModeResponse, ResponseMode
from dual_mode_streaming.rendering import EventFrames, ItemCodec, Representation

__all__ = ["add_the_rest", "where"]

N = 2_000
REPEATS = 30
CODEC = ItemCodec(Item)
Source = Callable[[], AsyncIterator[Item]]
Run = Callable[[], Awaitable[None]]


async def ready() -> AsyncIterator[Item]:
    for index in range(N):
        yield READY[index & 255]


async def waiting() -> AsyncIterator[Item]:
    for index in range(N):
        await asyncio.sleep(0)
        yield READY[index & 255]


async def read(source: AsyncIterator[Item], use: Callable[[Item], Any]) -> None:
    async for item in source:
        use(item)


async def answer(source: AsyncIterator[Item]) -> None:
    """The whole response, into a `send` that does nothing."""

    async def receive() -> Any:
        await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        pass

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    await DualModeResponse(source, mode=ResponseMode.STREAM, representation=Representation(CODEC))(
        scope, receive, send
    )


async def cpu(run: Run) -> float:
    """µs an event: the least of many, since what disturbs only adds."""
    least = float("inf")
    for _ in range(REPEATS):
        start = time.process_time()
        await run()
        least = min(least, time.process_time() - start)
    return least / N * 1e6


async def where() -> dict[str, dict[str, float]]:
    """The parts of a busy and of a paced event that are ours."""
    parts: dict[str, dict[str, float]] = {}
    for name, source in (("busy", ready), ("paced", waiting)):

        def reading(use: Callable[[Item], Any], source: Source = source) -> Run:
            return lambda: read(source(), use)

        bare = await cpu(reading(lambda item: None))
        encode = await cpu(reading(CODEC.to_json))
        frame = await cpu(reading(EventFrames(CODEC, "0123456789").item))
        response = await cpu(lambda source=source: answer(source()))  # type: ignore[misc]
        parts[name] = {
            "source, and its waits": bare,
            "encode": encode - bare,
            "frame": frame - encode,
            "deliver: collect, look at bounds, flush": response - frame,
        }
    return parts


def add_the_rest(parts: dict[str, dict[str, float]], busy: float, paced: float) -> None:
    """Add what remains of what each costs the server in all."""
    for name, whole in (("busy", busy), ("paced", paced)):
        parts[name]["send: server, kernel, the loop's waits"] = whole - sum(parts[name].values())
