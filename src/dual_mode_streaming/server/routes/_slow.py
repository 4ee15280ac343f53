"""`GET /slow`: a fast producer, a bounded buffer and a slow consumer, to watch backpressure work.

A browser takes some 60 MB before a server feels that its page reads slowly. So the consumer that
is slow here is in front of the reader: the buffer is drained at the server, at the rate asked for.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from dual_mode_streaming.streams import Overflow, buffer
from dual_mode_streaming.web._endpoint import dual_mode

__all__ = ["SlowItem", "slow_routes"]

Rate = Annotated[float, Query(ge=0.1, le=1000)]


class SlowItem(BaseModel):
    """An item that has come through, and how it is with the buffer at that moment.

    `number` is the item's, from 1. Of all that were `produced`, some are `delivered`, some are
    `waiting` in the buffer, some were `dropped`. `paused`: the producer waits for room.
    """

    number: int
    produced: int
    delivered: int
    waiting: int
    dropped: int
    paused: bool


class _Producer:
    """Makes numbers at a rate, as far as it is let."""

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
            yield self.made  # with BLOCK it is here that it waits for room
            self.waits = False
            due = max(due + self._pause, loop.time())  # what was missed is not made up for


def slow_routes() -> APIRouter:
    """The route."""
    routes = APIRouter()

    @routes.get("/slow", summary="A slow consumer, and what a bounded buffer does")
    @dual_mode
    async def slow(
        produce: Annotated[Rate, Query(description="Items a second that are made.")] = 50,
        drain: Annotated[Rate, Query(description="Items a second that are let through.")] = 10,
        size: Annotated[int, Query(ge=1, le=1000, description="Of the buffer, in items.")] = 20,
        policy: Annotated[
            Overflow, Query(description="What becomes of an item for which there is no room.")
        ] = Overflow.BLOCK,
        seconds: Annotated[float, Query(gt=0, le=300, description="How long it goes on.")] = 30,
    ) -> AsyncIterator[SlowItem]:
        loop = asyncio.get_running_loop()
        producer = _Producer(produce)
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
