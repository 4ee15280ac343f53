"""The task is not stopped when the reader stops.

Caught by: when the reader stops early, the source is closed
Found: still open
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any


class End:
    """The queue entry for the end of the source, with its error if there was one."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


async def bounded(source: AsyncGenerator[Any, None], maxsize: int) -> AsyncGenerator[Any, None]:
    queue: asyncio.Queue[Any] = asyncio.Queue(maxsize)

    async def pump() -> None:
        end = End()
        try:
            async with aclosing(source):
                async for item in source:
                    await queue.put(item)
        except Exception as error:
            end = End(error)
        await queue.put(end)  # not in `finally`: after a cancellation this could wait forever

    task = asyncio.create_task(pump())
    while not isinstance(item := await queue.get(), End):
        yield item
    await task
    if item.error is not None:
        raise item.error
