"""Exercise 4: resume.

The lines of a log are read over a connection that is cut now and then. A reader that comes again
shows the id of the last event it has got, as the header Last-Event-ID. Go on behind it:

- The lines have the ids "1", "2" and so on.
- Who shows "2" gets what comes after line 2: nothing is lost, and nothing comes twice.
- An id that is none of these ("cheese", "99") is no reason to fail: begin with the first line.

Read first: examples/08_resume.py
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
    # TODO: yield the lines as ServerSentEvents with ids, from behind the one that was shown.
    raise NotImplementedError("TODO: yield the lines with ids, from behind last_event_id")
    yield  # because of this line it is a generator function; your own `yield` will do as well
