"""The checks of exercise 8: an endless stream, its end, its error, and a loop that runs already."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from exercises.checks.task import Task

AT = "first_words"
READ = "examples/10_sync_bridge.py, and docs/bridges.md"
HINTS = (
    """
An async stream needs an event loop, and a loop that runs already does not let another one run in
its thread. So the loop must live in another thread. The package has a bridge for that.
""",
    """
`iterate_sync(stream)` is a plain iterator, and with `with` it closes the stream at the end of the
block. `itertools.islice(words, count)` takes the first of any iterator.
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
    task.aim("it gives the first words of an endless stream", ["to", "be", "or"])
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

    task.aim("it works in a notebook, where a loop is running already", ["to", "be"])

    async def notebook() -> Any:
        return it.first_words(endless([]), 2)

    task.found(asyncio.run(notebook()))
