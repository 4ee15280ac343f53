"""The ids begin with 1 after each cut, so they mean different lines.

Caught by: a client with the last id 2 gets the lines after it
Found: 1 disconnected, 2 connected again
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import FastAPI, Header

from dual_mode_streaming import ServerSentEvent, dual_mode

app = FastAPI()
LINES = ["started", "connected", "disconnected", "connected again", "running", "stopped"]


@app.get("/log")
@dual_mode
async def log(
    last_event_id: Annotated[str | None, Header()] = None,
) -> AsyncIterator[ServerSentEvent]:
    ids = [str(number) for number in range(1, len(LINES) + 1)]
    seen = int(last_event_id) if last_event_id in ids else 0
    for number, line in enumerate(LINES[seen:], 1):
        yield ServerSentEvent(data=line, id=str(number))
