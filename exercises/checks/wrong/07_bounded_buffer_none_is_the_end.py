"""None marks the end, so an item that is None also ends the stream.

Caught by: all items arrive in their order, None included
Found: [1]
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
        await queue.put(
            end if end.error else None
        )  # not in `finally`: after a cancellation this could wait forever

    task = asyncio.create_task(pump())
    try:
        while (item := await queue.get()) is not None and not isinstance(item, End):
            yield item
        if item is not None and item.error is not None:
            raise item.error
    finally:
        task.cancel()
        await asyncio.wait({task})
