"""The checks of exercise 4: ids, a client that reconnects, and unknown ids."""

from typing import Any

import httpx
from exercises.checks.task import Task

from dual_mode_streaming.testing import read_events

AT = "log"
READ = "examples/08_resume.py, and in docs/patterns.md the section on resuming"
HINTS = (
    """
The id is the last line that the client has. The first line to send is the next one, and an id must
mean the same line in every answer. Do not trust what a client sends: check it before you use it.
""",
    """
`LINES[seen:]` are the lines after the first `seen`, and `enumerate(…, seen + 1)` numbers them as
before. `ServerSentEvent(data=line, id=str(number))` is an event with your own id. Compare
`last_event_id` with the existing ids before you pass it to `int`.
""",
    """
ids = [str(number) for number in range(1, len(LINES) + 1)]
seen = int(last_event_id) if last_event_id in ids else 0
for number, line in enumerate(...):
    yield ServerSentEvent(...)
""",
)


async def check(it: Any, task: Task) -> None:
    whole = [f"{number} {line}" for number, line in enumerate(it.LINES, 1)]
    async with task.client(it.app) as client:
        task.aim("the lines have the ids 1, 2 and so on", ", ".join(whole))
        task.found(await read(client, None))

        task.aim("a client with the last id 2 gets the lines after it", ", ".join(whole[2:]))
        task.found(await read(client, "2"))

        task.aim("a client that is cut after each line gets every line once", ", ".join(whole))
        parts: list[str] = []
        while len(parts) < len(whole):
            last = parts[-1].split()[0] if parts else None
            parts.append(await read(client, last, most=1))
        task.found(", ".join(parts))

        for unknown in ("cheese", "99", "-1", "0"):
            what = f"with the unknown id {unknown} the answer begins with the first line"
            task.aim(what, ", ".join(whole))
            task.found(await read(client, unknown))


async def read(client: httpx.AsyncClient, last: str | None, most: int = 99) -> str:
    """Return what a client with this last id receives, up to `most` events."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
    seen: list[str] = []
    async with client.stream("GET", "/log", headers=headers) as answer:
        if answer.status_code != 200:
            return f"status {answer.status_code}"
        async for event in read_events(answer):
            if event.event == "done":
                break
            name = "" if event.event is None else f"({event.event}) "
            seen.append(f"{name}{event.id} {event.data}")
            if len(seen) == most:
                break
    return ", ".join(seen) or "nothing"
