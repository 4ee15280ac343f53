"""Exercise 7: a bounded buffer.

A buffer lets a fast source run ahead of its reader, so that neither waits for the other without
need. Without a bound it fills the memory. Write one by hand: `bounded(source, maxsize)` gives the
items of `source` in their order, and

- reads it ahead, in a task of its own, by `maxsize` items (one more in its hand is all right);
- passes every item on, also None;
- raises an error of the source, as it is, after the items before it;
- when its reader leaves early, ends the task and closes the source before it returns.

`dual_mode_streaming.streams.buffer` is the real one; use it when you have written yours.

Read first: examples/04_backpressure.py
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any


class End:
    """Stands in the queue for the end of the source, and for its error, if there was one."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


async def bounded(source: AsyncGenerator[Any, None], maxsize: int) -> AsyncGenerator[Any, None]:
    # TODO: let a task put the items into a queue that has a bound, and yield what comes out of it.
    raise NotImplementedError("TODO: a task, a queue with a bound, and an end to both")
    yield  # because of this line it is a generator function; your own `yield` will do as well
