"""The checks of exercise 5: one source for many clients, the newest item first, and the end."""

import asyncio
from contextlib import aclosing
from typing import Any

from exercises.checks.task import Task

from dual_mode_streaming.testing import read_events

AT = "temperature"
READ = "docs/streams.md, the section on Broadcast"
HINTS = (
    """
The endpoint is called once for each client, so what they share must be outside of it. The endpoint
only subscribes, reads, and unsubscribes; it must unsubscribe on every exit.
""",
    """
`Broadcast(thermometer, history=…, stop_after_last=…)`: pass the function itself and not
`thermometer()`, so that it can be called again. `readings.subscribe()` is a stream; `async with`
closes it at the end of the block.
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
            """Return the items that one client gets, each with its seconds."""
            loop = asyncio.get_running_loop()
            begun, seen = loop.time(), []
            async with client.stream("GET", "/temperature?stream=true") as answer:
                async with aclosing(read_events(answer)) as events:
                    async for event in events:
                        seen.append(f"{event.data} after {loop.time() - begun:g} s")
                        if len(seen) == count:
                            break
            return seen

        task.aim("a client gets the readings", "20 after 0 s, 21 after 1 s")
        task.found(", ".join(await read(2)))

        task.aim("when the last client has left, the thermometer is closed", "opened, closed")
        await asyncio.sleep(0.1)
        task.found(", ".join(it.log))

        task.aim("two clients share one thermometer", "opened")
        it.log.clear()
        one = asyncio.create_task(read(3))
        two = asyncio.create_task(read(3))
        await asyncio.sleep(0.5)
        task.found(", ".join(it.log))

        what = "a client half a second later gets the newest reading at once"
        task.aim(what, "20 after 0 s, 21 after 0.5 s")
        task.found(", ".join(await read(2)))

        task.aim("each client gets all readings", ["20 after 0 s, 21 after 1 s, 22 after 2 s"] * 2)
        task.found([", ".join(await one), ", ".join(await two)])

        task.aim("for the next client the thermometer is opened again", "20 after 0 s")
        await asyncio.sleep(0.1)
        task.found(", ".join(await read(1)))

        task.aim("the document is the newest reading", "20")
        await asyncio.sleep(0.1)
        task.found((await client.get("/temperature")).text)
