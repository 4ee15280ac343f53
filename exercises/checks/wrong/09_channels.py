"""All orders share one channel.

Caught by: a page sees the changes of its own order only
Found: order 8 packed
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import FastAPI, Header

from dual_mode_streaming import Channel, dual_mode, install

app = FastAPI()
install(app)

orders = Channel("orders", str)


@app.post("/orders/{id}/{state}")
async def change(
    id: int, state: str, idempotency_key: Annotated[str | None, Header()] = None
) -> str:
    cursor = await orders.publish(state, key=idempotency_key)
    if state == "delivered":
        await orders.close()
    return cursor


@app.get("/orders/{id}")
@dual_mode
def board(id: int) -> AsyncIterator[str]:
    return orders.subscribe()
