"""Exercise 1: build a dual-mode endpoint.

A rocket counts down: GET /countdown. By default the answer is one document at the end,

    {"data": [3, 2, 1]}

and an event stream has each number as soon as it is counted, one second apart. The first number
also takes one second. `start` is the first number.

Read first: examples/01_basic_streaming.py
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import FastAPI

from dual_mode_streaming import dual_mode

app = FastAPI()


@app.get("/countdown")
async def countdown(start: int = 3):
    # TODO: wait a second and yield a number, from `start` down to 1. Declare the return type
    # AsyncIterator[int], and make the function answer in both modes.
    raise NotImplementedError("TODO: yield the numbers, and answer in both modes")
