"""The numbers are collected first and yielded at the end: only the document is right.

Caught by: the event stream of /countdown waits one second before each number
Found: 3 after 3 s, 2 after 3 s, 1 after 3 s
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import FastAPI

from dual_mode_streaming import dual_mode

app = FastAPI()


@app.get("/countdown")
@dual_mode
async def countdown(start: int = 3) -> AsyncIterator[int]:
    numbers = []
    for number in range(start, 0, -1):
        await asyncio.sleep(1)
        numbers.append(number)
    for number in numbers:
        yield number
