"""Exercise 2: a progress reporter.

A job has four steps. `work(step)` does one of them, and takes time. Report the progress of the job:

- The stream has one Progress for each step, sent when the step is done, not before.
- The document arrives after the whole job, and is only the last Progress.
- When a step fails, the failure is not hidden: there is no further Progress, and no `done`.

Read first: examples/11_progress_feed.py
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import FastAPI
from pydantic import BaseModel

from dual_mode_streaming import dual_mode

app = FastAPI()
STEPS = {"fetch": 2, "convert": 5, "check": 1, "publish": 3}  # seconds of each step


class Progress(BaseModel):
    done: int  # the number of steps that are done
    of: int  # the number of all steps
    step: str  # the step that was just done


async def work(step: str) -> None:
    await asyncio.sleep(STEPS[step])


async def last(items: AsyncIterator[Progress]) -> Progress | None:
    newest = None
    async for item in items:
        newest = item
    return newest


@app.get("/job")
@dual_mode(fold=last)
async def job() -> AsyncIterator[Progress]:
    for number, step in enumerate(STEPS, 1):
        await work(step)
        yield Progress(done=number, of=len(STEPS), step=step)
