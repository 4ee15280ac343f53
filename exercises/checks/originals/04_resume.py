"""Exercise 4: resume.

A client reads the lines of a log over a connection that is sometimes cut. When it reconnects, it
sends the id of the last event it has received, in the header Last-Event-ID. Continue after this
event:

- The lines have the ids "1", "2" and so on.
- A client with the last id "2" gets the lines after line 2: none is missing, and none comes twice.
- An unknown id ("cheese", "99") is not an error: begin with the first line.

Read first: examples/08_resume.py
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
    # TODO: yield the lines as ServerSentEvents with ids, starting after `last_event_id`.
    raise NotImplementedError("TODO: yield the lines with ids, starting after last_event_id")
    yield  # makes this a generator function; your own `yield` replaces it
