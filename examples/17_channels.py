"""How does what happens in another request reach those who watch, also after they were away?

Seen: the page watched an order, and left after two messages. While it was away, the order was paid
and sent: by a request, and by a script that has no event loop. The page came back with the id of
its last event, and had what it had missed, once and in order. As a batch it is all that there is.

Try next: give `install` and the channel `sqlite:orders.db`, and run the script in another process.
"""

import asyncio
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI
from pydantic import BaseModel

from dual_mode_streaming import Channel, dual_mode, install
from dual_mode_streaming.testing import StreamingTransport, read_events


class Order(BaseModel):
    state: str


orders = Channel("orders/{id}", Order)
app = FastAPI()
install(app)


@app.post("/orders/{id}/{state}")
async def change(id: int, state: str) -> None:
    await orders.publish(Order(state=state), id=id)


@app.get("/orders/{id}")
@dual_mode
def watch(id: int) -> AsyncIterator[Order]:
    return orders.subscribe(id=id)


def script() -> None:
    orders.sync.publish(Order(state="sent"), id=7, key="shipment 1")
    orders.sync.publish(Order(state="sent"), id=7, key="shipment 1")  # it counts once
    orders.sync.close(id=7)


async def read(http: httpx.AsyncClient, last: str, most: int) -> str:
    headers = {"Accept": "text/event-stream", "Last-Event-ID": last}
    async with http.stream("GET", "/orders/7", headers=headers) as answer:
        async for event in read_events(answer):
            print(f"    page: {event.event or ''}{event.data}")
            if (most := most - 1) == 0:
                break  # leaving the block closes the connection
    return event.id or ""


async def main() -> None:
    transport = StreamingTransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://app") as http,
    ):
        for state in ("new", "packed"):
            await http.post(f"/orders/7/{state}")
        print("The page watches.")
        last = await read(http, "", most=2)
        print("While it is away, a request and a script publish.")
        await http.post("/orders/7/paid")
        await asyncio.to_thread(script)
        print("The page comes back.")
        await read(http, last, most=9)
        print("As a batch:", (await http.get("/orders/7")).text)


if __name__ == "__main__":
    asyncio.run(main())
