"""It counts anew after each cut, so that ids mean different lines.

Caught by: who shows the id 2 gets what comes after it
Found: 1 lost, 2 connected again
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import FastAPI, Header

from dual_mode_streaming import ServerSentEvent, dual_mode

app = FastAPI()
LINES = ["started", "connected", "lost", "connected again", "all is well", "stopped"]


@app.get("/log")
@dual_mode
async def log(
    last_event_id: Annotated[str | None, Header()] = None,
) -> AsyncIterator[ServerSentEvent]:
    ids = [str(number) for number in range(1, len(LINES) + 1)]
    seen = int(last_event_id) if last_event_id in ids else 0
    for number, line in enumerate(LINES[seen:], 1):
        yield ServerSentEvent(data=line, id=str(number))
