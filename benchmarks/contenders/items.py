"""The one source that every contender answers from; not a contender itself."""

import asyncio
import time
from collections.abc import AsyncIterator

from pydantic import BaseModel

__all__ = ["READY", "Batch", "Item", "items", "state"]


class Item(BaseModel):
    """Its event is about 120 bytes."""

    index: int
    due: float
    message: str


class Batch(BaseModel):
    """The batch body of `dual_mode`, for those who make it by themselves."""

    data: list[Item]


READY = [
    Item(index=n, due=0.0, message=f"item number {n:03} of those that are ready")
    for n in range(256)
]

_started = 0
_closed: list[float] = []


async def items(n: int = 20, interval: float = 0.0) -> AsyncIterator[Item]:
    """`n` items that are ready, or one every `interval` seconds that says when it was due."""
    global _started
    _started += 1
    try:
        if not interval:
            for index in range(n):
                yield READY[index & 255]
            return
        start = time.monotonic()
        for index in range(n):
            due = start + index * interval
            if (left := due - time.monotonic()) > 0:
                await asyncio.sleep(left)
            yield Item(index=index, due=due, message="an item that is made when it is due")
    finally:
        _closed.append(time.monotonic())


def state() -> dict[str, object]:
    """How many sources were started, when each was closed, and how many tasks there are."""
    return {"started": _started, "closed": _closed, "tasks": len(asyncio.all_tasks())}
