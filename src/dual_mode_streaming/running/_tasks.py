"""The end of a task that runs in the background."""

import asyncio
from typing import Any, Final

__all__ = ["end_tasks"]

_AGAIN: Final = 0.5
"""The time in seconds after which a task that has not ended is cancelled again."""


async def end_tasks(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel tasks until they have ended; None stands for no task.

    One cancellation can be lost: `asyncio.wait_for` of Python 3.11 returns its result instead if
    that comes in the same iteration of the event loop, and redis-py calls it.
    """
    running = {task for task in tasks if task is not None}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_AGAIN)
