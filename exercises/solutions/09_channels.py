"""Exercise 9: channels.

Two workers change the state of an order: one packs it, the other one delivers it. A page shows the
changes of one order, and is sometimes away. Publish the changes in a channel, and let the page
watch it:

- `change` publishes the state in the channel of this order, and returns the cursor.
- A worker that got no answer sends its request again, with the same Idempotency-Key. Such a change
  counts once.
- A page that was away comes back with the header Last-Event-ID. It gets what it missed: each change
  once, and in order.
- After "delivered" nothing follows: the channel is closed, and the stream of the page ends.

Read first: examples/17_channels.py
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
def board(id: int) -> AsyncIterator[str]:
    return orders.subscribe(id=id)
