"""Exercise 7: a bounded buffer.

A buffer lets a fast source run ahead of its reader, so that neither waits for the other without
need. Without a bound it fills the memory. Write one yourself: `bounded(source, maxsize)` yields the
items of `source` in their order, and

- reads ahead by `maxsize` items, in a separate task (one more that is being put is fine);
- passes every item on, None included;
- raises an error of the source unchanged, after the items before it;
- when its reader stops early, ends the task and closes the source before it returns.

`dual_mode_streaming.streams.buffer` does the same; use it in real code.

Read first: examples/04_backpressure.py
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
    try:
        while not isinstance(item := await queue.get(), End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        task.cancel()
        await asyncio.wait({task})
