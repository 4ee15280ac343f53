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
    # TODO: let a task put the items into a bounded queue, and yield the items from the queue.
    raise NotImplementedError("TODO: a task, a bounded queue, and an end of both")
    yield  # makes this a generator function; your own `yield` replaces it
