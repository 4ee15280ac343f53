"""The checks of exercise 5: one source for many, the newest for who is late, and its end."""

import asyncio
from contextlib import aclosing
from typing import Any

from exercises.checks.task import Task

from dual_mode_streaming.testing import read_events

AT = "temperature"
READ = "docs/streams.md, the part on Broadcast"
HINTS = (
    """
What all readers share must live outside of the endpoint, which is called once for each of them. The
endpoint only joins, reads, and leaves; and it must leave however it ends.
""",
    """
`Broadcast(thermometer, history=…, stop_after_last=…)`: give it the function itself and not
`thermometer()`, so that it can begin anew. `readings.subscribe()` is a stream; `async with` leaves
it at the end of the block.
""",
    """
readings = Broadcast(thermometer, ...)

async def temperature() -> AsyncIterator[int]:
    async with readings.subscribe() as items:
        ...
""",
)


async def check(it: Any, task: Task) -> None:
    async with task.client(it.app) as client:

        async def read(count: int) -> list[str]:
            """What one reader gets, and after how many seconds."""
            loop = asyncio.get_running_loop()
            begun, seen = loop.time(), []
            async with client.stream("GET", "/temperature?stream=true") as answer:
                async with aclosing(read_events(answer)) as events:
                    async for event in events:
                        seen.append(f"{event.data} after {loop.time() - begun:g} s")
                        if len(seen) == count:
                            break
            return seen

        task.aim("a reader gets the readings", "20 after 0 s, 21 after 1 s")
        task.found(", ".join(await read(2)))

        task.aim("when the last reader has left the thermometer is closed", "opened, closed")
        await asyncio.sleep(0.1)
        task.found(", ".join(it.log))

        task.aim("two readers share one thermometer", "opened")
        it.log.clear()
        one = asyncio.create_task(read(3))
        two = asyncio.create_task(read(3))
        await asyncio.sleep(0.5)
        task.found(", ".join(it.log))

        what = "who comes half a second later has the newest reading at once"
        task.aim(what, "20 after 0 s, 21 after 0.5 s")
        task.found(", ".join(await read(2)))

        task.aim("each reader gets all readings", ["20 after 0 s, 21 after 1 s, 22 after 2 s"] * 2)
        task.found([", ".join(await one), ", ".join(await two)])

        task.aim("for the next reader it is read anew", "20 after 0 s")
        await asyncio.sleep(0.1)
        task.found(", ".join(await read(1)))

        task.aim("the document is the newest reading", "20")
        await asyncio.sleep(0.1)
        task.found((await client.get("/temperature")).text)
