"""The channel is not closed.

Caught by: after "delivered" the stream ends
Found: it does not end
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
    return cursor


@app.get("/orders/{id}")
@dual_mode
def board(id: int) -> AsyncIterator[str]:
    return orders.subscribe(id=id)
