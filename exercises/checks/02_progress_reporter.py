"""The checks of exercise 2: the times of each Progress, the document, and a step that fails."""

import asyncio
import json
from typing import Any

from exercises.checks.task import Task

from dual_mode_streaming.testing import read_events

AT = "job"
READ = "examples/11_progress_feed.py; for failures examples/06_errors.py"
HINTS = (
    """
Do the work first, and report it afterwards: an item is sent as soon as it is yielded. A fold is a
function that reads all items and returns one value. For failures you need no code: if you do not
catch an exception, the stream ends with `event: error`.
""",
    """
`enumerate(STEPS, 1)` numbers the steps from 1. In the loop: `await work(step)`, then `yield
Progress(...)`. In the fold: `async for item in items`, and keep the newest in a variable.
""",
    """
for number, step in enumerate(STEPS, 1):
    await work(step)
    yield Progress(done=number, of=..., step=...)
""",
)


async def check(it: Any, task: Task) -> None:
    loop = asyncio.get_running_loop()
    async with task.client(it.app) as client:
        task.aim(
            "a Progress arrives when its step is done",
            "1 of 4, fetch, after 2 s; 2 of 4, convert, after 7 s; "
            "3 of 4, check, after 8 s; 4 of 4, publish, after 11 s",
        )
        begun, seen = loop.time(), []
        async with client.stream("GET", "/job?stream=true") as answer:
            async for event in read_events(answer):
                if event.event is None:
                    item, passed = json.loads(event.data), loop.time() - begun
                    count = f"{item['done']} of {item['of']}"
                    seen.append(f"{count}, {item['step']}, after {passed:g} s")
        task.found("; ".join(seen) or "no Progress at all")

        task.aim("the document is the last Progress", {"done": 4, "of": 4, "step": "publish"})
        task.found((await client.get("/job")).json())

        async def fails(step: str) -> None:
            if step == "check":
                raise RuntimeError("a failure of the check, on purpose")
            await asyncio.sleep(it.STEPS[step])

        it.work = fails
        what = "when the step `check` fails, the stream ends with an error"
        task.aim(what, "fetch, convert, error")
        seen = []
        async with client.stream("GET", "/job?stream=true") as answer:
            async for event in read_events(answer):
                seen.append(event.event or json.loads(event.data)["step"])
        task.found(", ".join(seen))
