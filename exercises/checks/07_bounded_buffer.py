"""The checks of exercise 7: order, bound, error, and an early exit."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from exercises.checks.task import Task

AT = "bounded"
READ = "examples/04_backpressure.py, and in docs/streams.md the section on shaping"
HINTS = (
    """
There are two sides: a task that reads the source and puts the items into a queue, and the
generator, which takes them out. The end and an error must pass through the queue as well, as an
object that is never an item. When the reader stops early, stop the task and wait for its end.
""",
    """
`asyncio.Queue(maxsize)` makes `put` wait when it is full. An instance of `End` marks the end.
`task.cancel()` and then `await asyncio.wait({task})`, in a `finally`, end the task. Never put into
a full queue in a `finally`: nobody reads it any more, so `put` would wait forever.
""",
    """
async def pump() -> None:
    end = End()
    try:
        async with aclosing(source):
            ...
    except Exception as error:
        end = End(error)
    await queue.put(end)
""",
)


class Source:
    """A source of items that counts how many have been read."""

    def __init__(self, items: list[Any], fails: bool = False) -> None:
        self.items, self.fails = items, fails
        self.pulled, self.state = 0, "not opened"

    async def read(self) -> AsyncGenerator[Any, None]:
        self.state = "still open"
        try:
            for item in self.items:
                await asyncio.sleep(0.01)
                self.pulled += 1
                yield item
            if self.fails:
                raise ValueError("the source failed")
        finally:
            await asyncio.sleep(0)
            self.state = "closed"


async def check(it: Any, task: Task) -> None:
    task.aim("all items arrive in their order, None included", [1, None, 3])
    task.found([item async for item in it.bounded(Source([1, None, 3]).read(), 2)])

    task.aim("an error of the source is raised after the items before it", "[1, 2], ValueError")
    seen: list[Any] = []
    try:
        async for item in it.bounded(Source([1, 2], fails=True).read(), 2):
            seen.append(item)
    except ValueError as error:
        task.found(f"{seen}, {type(error).__name__}")
    else:
        task.fail(f"{seen}, and a clean end")

    source = Source(list(range(51)))
    stream = it.bounded(source.read(), 4)
    task.aim(
        "the source runs ahead by the allowed number of items, and no more",
        "4 items ahead of a slow reader, or 5 with the one that is being put",
    )
    await anext(stream)
    await asyncio.sleep(60)
    ahead = source.pulled - 1
    if ahead not in (4, 5):
        task.fail(f"{ahead} items ahead")

    task.aim("when the reader stops early, the source is closed", "closed")
    tasks = asyncio.all_tasks()
    async with asyncio.timeout(3600):
        await stream.aclose()
    task.found(source.state)

    task.aim("when the reader has stopped, no task is left", 0)
    task.found(len(asyncio.all_tasks() & tasks - {asyncio.current_task()}))
