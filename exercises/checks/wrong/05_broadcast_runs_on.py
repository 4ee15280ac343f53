"""The broadcast does not stop after its last client.

Caught by: when the last client has left, the thermometer is closed
Found: opened
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


readings = Broadcast(thermometer, history=1)


@app.get("/temperature")
@dual_mode(fold=first, feed=True)
async def temperature() -> AsyncIterator[int]:
    async with readings.subscribe() as items:
        async for item in items:
            yield item
