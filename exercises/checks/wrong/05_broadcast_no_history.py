"""A later client waits for the next reading.

Caught by: a client half a second later gets the newest reading at once
Found: 21 after 0.5 s
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import FastAPI

from dual_mode_streaming import dual_mode, first
from dual_mode_streaming.streams import Broadcast

app = FastAPI()
log: list[str] = []


async def thermometer() -> AsyncIterator[int]:
    log.append("opened")
    degrees = 20
    try:
        while True:
            yield degrees
            await asyncio.sleep(1)
            degrees += 1
    finally:
        log.append("closed")


readings = Broadcast(thermometer, stop_after_last=True)


@app.get("/temperature")
@dual_mode(fold=first, feed=True)
async def temperature() -> AsyncIterator[int]:
    async with readings.subscribe() as items:
        async for item in items:
            yield item
