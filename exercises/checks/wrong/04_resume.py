"""The answer begins with the last line that the client already has.

Caught by: a client with the last id 2 gets the lines after it
Found: 2 connected, 3 disconnected
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
    first = max(seen, 1)
    for number, line in enumerate(LINES[first - 1 :], first):
        yield ServerSentEvent(data=line, id=str(number))
