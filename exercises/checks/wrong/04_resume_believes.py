"""The id from the client is not checked.

Caught by: with the unknown id cheese the answer begins with the first line
Found: ValueError: invalid literal for int()
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
    seen = int(last_event_id) if last_event_id else 0
    for number, line in enumerate(LINES[seen:], seen + 1):
        yield ServerSentEvent(data=line, id=str(number))
