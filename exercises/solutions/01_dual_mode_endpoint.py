"""Exercise 1: build a dual-mode endpoint.

A rocket counts down: GET /countdown. Who asks for nothing special gets the whole count at its end,

    {"data": [3, 2, 1]}

and who asks for an event stream gets each number at its time: a second passes before each of them.
`start` is where the count begins.

Read first: examples/01_basic_streaming.py
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import FastAPI

from dual_mode_streaming import dual_mode

app = FastAPI()


@app.get("/countdown")
@dual_mode
async def countdown(start: int = 3) -> AsyncIterator[int]:
    for number in range(start, 0, -1):
        await asyncio.sleep(1)
        yield number
