"""Exercise 5: broadcast.

There is one thermometer, and any number of readers of GET /temperature. The thermometer can be read
by one at a time, so they must share it:

- It is read once, however many readers there are, and each of them gets all that is measured.
- Who comes later begins with the newest reading (a history of one), and does not wait for the next.
- When the last reader has left, the thermometer is closed; for the next one it is read anew.
- Who asks for a document gets the newest reading alone. (This is done: `fold=first`.)

Read first: docs/streams.md, the part on Broadcast
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


# TODO (first): make one Broadcast of the thermometer here, for all readers.


@app.get("/temperature")
@dual_mode(fold=first, feed=True)
async def temperature() -> AsyncIterator[int]:
    # TODO (second): subscribe to the broadcast, and yield what comes.
    raise NotImplementedError("TODO: subscribe to one Broadcast, and yield what comes")
    yield  # because of this line it is a generator function; your own `yield` will do as well
