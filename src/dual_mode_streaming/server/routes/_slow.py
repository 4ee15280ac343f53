"""`GET /slow`: a fast producer, a bounded buffer and a slow consumer, to watch backpressure.

A browser receives some 60 MB before a server notices that its page reads slowly. So the slow
consumer is at the server: it takes items from the buffer at the requested rate.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from dual_mode_streaming import dual_mode
from dual_mode_streaming.streams import Overflow, buffer

Rate = Annotated[float, Query(ge=0.1, le=1000)]


class SlowItem(BaseModel):
    """An item that has passed the buffer, and the state of the buffer at that moment.

    `number` counts the items from 1. Of all the items that were `produced`, some are `delivered`,
    some are `waiting` in the buffer, some were `dropped`. `paused`: the producer waits for space.
    """

    number: int
    produced: int
    delivered: int
    waiting: int
    dropped: int
    paused: bool


class _Numbers:
    """Produces numbers at a rate, unless it has to wait."""

    def __init__(self, rate: float) -> None:
        self.made = 0
        self.waits = False
        self._pause = 1 / rate

    async def numbers(self) -> AsyncIterator[int]:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await asyncio.sleep(due - loop.time())
            self.made += 1
            self.waits = True
            yield self.made  # with BLOCK it waits here for space in the buffer
            self.waits = False
            due = max(due + self._pause, loop.time())  # missed items are not made up for


def slow_routes() -> APIRouter:
    """Return the route."""
    routes = APIRouter()

    @routes.get("/slow", summary="Show a slow consumer and a bounded buffer")
    @dual_mode
    async def slow(
        produce: Annotated[Rate, Query(description="Items produced per second.")] = 50,
        drain: Annotated[Rate, Query(description="Items delivered per second.")] = 10,
        size: Annotated[
            int, Query(ge=1, le=1000, description="The size of the buffer, in items.")
        ] = 20,
        policy: Annotated[
            Overflow, Query(description="What happens to an item when the buffer is full.")
        ] = Overflow.BLOCK,
        seconds: Annotated[
            float, Query(gt=0, le=300, description="The duration of the stream, in seconds.")
        ] = 30,
    ) -> AsyncIterator[SlowItem]:
        loop = asyncio.get_running_loop()
        producer = _Numbers(produce)
        delivered, due = 0, loop.time()
        end = due + seconds
        buffered = buffer(producer.numbers(), size, overflow=policy)
        async with buffered:
            async for number in buffered:
                if (now := loop.time()) >= end:
                    return
                delivered += 1
                yield SlowItem(
                    number=number,
                    produced=producer.made,
                    delivered=delivered,
                    waiting=producer.made - delivered - buffered.dropped,
                    dropped=buffered.dropped,
                    paused=producer.waits and policy is Overflow.BLOCK,
                )
                due = max(due + 1 / drain, now)
                await asyncio.sleep(due - loop.time())

    return routes
