"""The checks of exercise 1: both modes of one endpoint, and the times of its items."""

import asyncio
from typing import Any

from exercises.checks.task import Task

from dual_mode_streaming.testing import read_events

AT = "countdown"
READ = "examples/01_basic_streaming.py, and the beginning of README.md"
HINTS = (
    """
A function with `yield` produces its items one at a time. Two things are missing: a loop with a wait
and a `yield`, and the one line that turns this function into an endpoint with both modes.
""",
    """
`range(start, 0, -1)` counts down, `await asyncio.sleep(1)` waits, `yield number` produces an item.
`@dual_mode` stands between `@app.get(...)` and the function.
""",
    """
@app.get("/countdown")
@dual_mode
async def countdown(start: int = 3) -> AsyncIterator[int]:
    for number in range(...):
        ...
""",
)


async def check(it: Any, task: Task) -> None:
    async with task.client(it.app) as client:
        task.aim("GET /countdown answers with one document", {"data": [3, 2, 1]})
        answer = await client.get("/countdown")
        kind = answer.headers.get("content-type", "nothing")
        if answer.status_code != 200 or kind != "application/json":
            task.fail(f"status {answer.status_code}, {kind}: {answer.text[:200]!r}")
        task.found(answer.json())

        task.aim("GET /countdown?start=5 begins at 5", {"data": [5, 4, 3, 2, 1]})
        task.found((await client.get("/countdown?start=5")).json())

        task.aim(
            "the event stream of /countdown waits one second before each number",
            "3 after 1 s, 2 after 2 s, 1 after 3 s",
        )
        loop = asyncio.get_running_loop()
        begun, seen, ends = loop.time(), [], []
        headers = {"Accept": "text/event-stream"}
        async with client.stream("GET", "/countdown", headers=headers) as answer:
            async for event in read_events(answer):
                if event.event is None:
                    seen.append(f"{event.data} after {loop.time() - begun:g} s")
                else:
                    ends.append(event.event)
        task.found(", ".join(seen))

        task.aim("the event stream ends with `done`", ["done"])
        task.found(ends)
