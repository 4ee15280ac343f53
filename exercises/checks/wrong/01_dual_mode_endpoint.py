"""The decorator is missing; FastAPI then sends the items as JSON Lines.

Caught by: GET /countdown answers with one document
Found: application/jsonl
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import FastAPI

app = FastAPI()


@app.get("/countdown")
async def countdown(start: int = 3) -> AsyncIterator[int]:
    for number in range(start, 0, -1):
        await asyncio.sleep(1)
        yield number
