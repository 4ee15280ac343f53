"""The job continues after a failed step, and hides the failure.

Caught by: when the step `check` fails, the stream ends with an error
Found: fetch, convert, publish, done
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
        try:
            await work(step)
        except RuntimeError:
            continue
        yield Progress(done=number, of=len(STEPS), step=step)
