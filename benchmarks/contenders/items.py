"""The one source that every contender answers from; not a contender itself."""

import asyncio
import itertools
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


async def items(n: int = 20) -> AsyncIterator[Item]:
    """`n` items that are ready; if it is below 0, one every -n milliseconds, for ever.

    Each of these says when it was due. (One parameter, since FastAPI takes its time over each.)
    """
    global _started
    _started += 1
    try:
        for index in range(n):
            yield READY[index & 255]
        start = time.monotonic()
        for index in itertools.count() if n < 0 else ():
            due = start - index * n / 1000
            if (left := due - time.monotonic()) > 0:
                await asyncio.sleep(left)
            yield Item(index=index, due=due, message="an item that is made when it is due")
    finally:
        _closed.append(time.monotonic())


def state() -> dict[str, object]:
    """How many sources were started, when each was closed, and how many tasks there are."""
    return {"started": _started, "closed": _closed, "tasks": len(asyncio.all_tasks())}
