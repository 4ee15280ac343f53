"""The endpoint reads the subscription itself, so that its events have other ids.

Caught by: a page that was away gets what it missed, once and in order
Found: (reset)
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import FastAPI, Header

from dual_mode_streaming import Channel, dual_mode, install

app = FastAPI()
install(app)

orders = Channel("orders/{id}", str)


@app.post("/orders/{id}/{state}")
async def change(
    id: int, state: str, idempotency_key: Annotated[str | None, Header()] = None
) -> str:
    cursor = await orders.publish(state, id=id, key=idempotency_key)
    if state == "delivered":
        await orders.close(id=id)
    return cursor


@app.get("/orders/{id}")
@dual_mode
async def board(id: int) -> AsyncIterator[str]:
    async for state in orders.subscribe(id=id):
        yield state
