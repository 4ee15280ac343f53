"""Exercise 5: broadcast.

There is one thermometer, and any number of clients of GET /temperature. Only one reader can use the
thermometer at a time, so the clients must share it:

- It is opened once, for any number of clients, and each client gets all readings.
- A client that connects later first gets the newest reading (a history of one), without waiting.
- When the last client has disconnected, the thermometer is closed. For the next client it is opened
  again.
- The document is only the newest reading. (This is already done: `fold=first`.)

Read first: docs/streams.md, the section on Broadcast
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


# TODO (first): create one Broadcast of the thermometer here, for all clients.


@app.get("/temperature")
@dual_mode(fold=first, feed=True)
async def temperature() -> AsyncIterator[int]:
    # TODO (second): subscribe to the broadcast, and yield its items.
    raise NotImplementedError("TODO: subscribe to one Broadcast, and yield its items")
    yield  # makes this a generator function; your own `yield` replaces it
