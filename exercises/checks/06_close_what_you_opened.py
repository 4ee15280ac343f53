"""The checks of exercise 6: what has been closed after each kind of exit."""

import asyncio
from typing import Any

from exercises.checks.task import Task

AT = "names"
READ = "examples/05_disconnect.py, and the beginning of docs/streams.md"
HINTS = (
    """
A generator may end at any `yield` and at any `await`: the caller stops, or the generator is
cancelled. The code after the loop is then not reached. A `break` out of `async for` does not close
the iterated generator either: your code has to.
""",
    """
`try: … finally: await connection.close()` runs on every exit. `contextlib.aclosing(generator)` in
an `async with` closes a generator at the end of the block. What is opened last belongs to the inner
block.
""",
    """
await connection.open()
try:
    async with aclosing(connection.rows()) as rows:
        ...
finally:
    ...
""",
)
WHOLE = "connection opened, rows closed, connection closed"


async def check(it: Any, task: Task) -> None:
    log: list[str] = []
    task.aim("it yields the name of each row", ["Ada", "Grace", "Joan"])
    task.found([name async for name in it.names(it.Connection(log))])

    task.aim("both are closed when all rows have been read", WHOLE)
    task.found(", ".join(log))

    task.aim("both are closed when the caller stops early", WHOLE)
    log.clear()
    names = it.names(it.Connection(log))
    async for _ in names:
        break
    await names.aclose()
    task.found(", ".join(log))

    task.aim("an error of the rows reaches the caller", "OSError: the database is gone")
    log.clear()
    try:
        seen = [name async for name in it.names(it.Connection(log, fails_at="Grace"))]
    except OSError as error:
        task.found(f"OSError: {error}")
    else:
        task.fail(f"no error, but {seen} and a normal end")

    task.aim("both are closed when reading fails", WHOLE)
    task.found(", ".join(log))

    task.aim("both are closed when it is cancelled while it waits", WHOLE)
    log.clear()
    names = it.names(it.Connection(log, waits_at="Grace"))
    await anext(names)
    waits = asyncio.create_task(anext(names))
    await asyncio.sleep(1)
    waits.cancel()
    await asyncio.wait({waits})
    task.found(", ".join(log))
