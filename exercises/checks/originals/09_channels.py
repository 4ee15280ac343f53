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

from dual_mode_streaming import dual_mode, install

app = FastAPI()
install(app)

# TODO (first): create a Channel of str here. Its name has a parameter: the id of the order.


@app.post("/orders/{id}/{state}")
async def change(
    id: int, state: str, idempotency_key: Annotated[str | None, Header()] = None
) -> str:
    # TODO (second): publish the state, and return the cursor; close the channel after "delivered".
    raise NotImplementedError("TODO: publish the state in the channel of the order")


@app.get("/orders/{id}")
@dual_mode
def board(id: int) -> AsyncIterator[str]:
    # TODO (third): return a subscription to the channel of the order.
    raise NotImplementedError("TODO: return a subscription to the channel of the order")
