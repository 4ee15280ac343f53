"""The checks of exercise 8: an endless stream, its end, its error, and a running loop."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from exercises.checks.task import Task

AT = "first_words"
READ = "examples/10_sync_bridge.py, and docs/bridges.md"
HINTS = (
    """
An async stream needs an event loop, and one thread can run only one loop. If a loop may already be
running, the stream needs another thread. The package has a bridge for this.
""",
    """
`iterate_sync(stream)` is a plain iterator. Used in a `with` statement, it closes the stream at the
end of the block. `itertools.islice(words, count)` returns the first items of any iterator.
""",
    """
with iterate_sync(stream) as words:
    ...
""",
)


async def endless(log: list[str], fails: bool = False) -> AsyncIterator[str]:
    log.append("begun")
    try:
        yield "to"
        await asyncio.sleep(0.001)
        yield "be"
        if fails:
            raise OSError("the stream broke")
        while True:
            await asyncio.sleep(0.001)
            yield "or"
    finally:
        log.append("closed")


def check(it: Any, task: Task) -> None:
    log: list[str] = []
    task.aim("it returns the first words of an endless stream", ["to", "be", "or"])
    stream = endless(log)
    task.found(it.first_words(stream, 3))

    task.aim("the stream is closed when the function returns", "begun, closed")
    task.found(", ".join(log))

    task.aim("an error of the stream is raised in the function", "OSError: the stream broke")
    try:
        words = it.first_words(endless([], fails=True), 5)
    except OSError as error:
        task.found(f"OSError: {error}")
    else:
        task.fail(f"{words}, and no error")

    task.aim("it works in a notebook, where a loop is already running", ["to", "be"])

    async def notebook() -> Any:
        return it.first_words(endless([]), 2)

    task.found(asyncio.run(notebook()))
