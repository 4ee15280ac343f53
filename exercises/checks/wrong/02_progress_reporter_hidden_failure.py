"""It goes on after a step that failed, and hides the failure.

Caught by: when the step `check` fails, the stream ends in an error
Found: fetch, convert, publish, done
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
