"""How does what happens in another request reach those who watch, also after they were away?

Seen: the page left after two messages. Meanwhile the order was paid and sent, by a request and by
other code. The page came back with its last id, and had what it had missed, once and in order.

Try next: give `install` and the channel `sqlite:orders.db`, and publish from another process.
"""

import asyncio
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI

from dual_mode_streaming import Channel, dual_mode, install
from dual_mode_streaming.testing import StreamingTransport, read_events

orders = Channel("orders/{id}", str)
app = FastAPI()
install(app)


@app.post("/orders/{id}/{state}")
async def change(id: int, state: str) -> str:
    return await orders.publish(state, id=id)


@app.get("/orders/{id}")
@dual_mode
def watch(id: int) -> AsyncIterator[str]:
    return orders.subscribe(id=id)


async def read(http: httpx.AsyncClient, last: str, most: int) -> str:
    headers = {"Accept": "text/event-stream", "Last-Event-ID": last}
    async with http.stream("GET", "/orders/7", headers=headers) as answer:
        async for event in read_events(answer):
            print(
                f"The page had {last[-2:] or 'nothing'}, and gets {event.event or ''} {event.data}"
            )
            if (most := most - 1) == 0:
                break
    return event.id or ""


async def main() -> None:
    http = httpx.AsyncClient(transport=StreamingTransport(app), base_url="http://app")
    async with app.router.lifespan_context(app), http:
        for state in ("new", "packed"):
            await http.post(f"/orders/7/{state}")
        last = await read(http, "", most=2)
        await http.post("/orders/7/paid")
        await orders.publish("sent", id=7, key="shipment 1")  # once, also if it is repeated
        await orders.close(id=7)
        await read(http, last, most=9)


if __name__ == "__main__":
    asyncio.run(main())
