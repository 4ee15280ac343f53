"""The count begins with 0, so the job is never done.

Caught by: a Progress arrives when its step is done
Found: 0 of 4, fetch, after 2 s
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
    for number, step in enumerate(STEPS):
        await work(step)
        yield Progress(done=number, of=len(STEPS), step=step)
