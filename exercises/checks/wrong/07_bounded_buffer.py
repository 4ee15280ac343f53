"""The queue has no bound.

Caught by: the source runs ahead by the allowed number of items, and no more
Found: 50 items ahead
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
    queue: asyncio.Queue[Any] = asyncio.Queue()

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
    try:
        while not isinstance(item := await queue.get(), End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        task.cancel()
        await asyncio.wait({task})
