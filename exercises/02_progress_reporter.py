"""Exercise 2: a progress reporter.

A job has four steps; `work(step)` does one of them, and takes its time. Tell how far the job is:

- The stream has one Progress for each step that is done, not before it is done.
- Who asks for a document waits for the whole job, and gets the last Progress alone.
- When a step fails, the failure is not hidden: no further Progress comes, and no `done`.

Read first: examples/11_progress_feed.py
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import FastAPI
from pydantic import BaseModel

from dual_mode_streaming import dual_mode

app = FastAPI()
STEPS = {"fetch": 2, "convert": 5, "check": 1, "publish": 3}  # each with its seconds


class Progress(BaseModel):
    done: int  # how many steps are done
    of: int  # how many there are
    step: str  # the one that was done just now


async def work(step: str) -> None:
    await asyncio.sleep(STEPS[step])


async def last(items: AsyncIterator[Progress]) -> Progress | None:
    # TODO (second): read all items, and give the last one.
    raise NotImplementedError("TODO: read all items, and give the last one")


@app.get("/job")
@dual_mode(fold=last)
async def job() -> AsyncIterator[Progress]:
    # TODO (first): do one step after the other, and after each yield its Progress.
    raise NotImplementedError("TODO: do each step, and yield a Progress after it")
    yield  # because of this line it is a generator function; your own `yield` will do as well
