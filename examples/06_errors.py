"""What does a client see of an error, before the first item and after it?

Seen: before the first item nothing has been sent, so the error keeps its status, in both modes.
After it the status 200 has been sent and cannot be changed: the stream ends with `event: error`,
without a `done`. A document is sent only when it is complete, so its errors always keep their
status.

Try next: raise a ZeroDivisionError instead. The client gets a plain 500 without its text. Request
`application/jsonl`: the transfer is broken off, and httpx raises RemoteProtocolError.
"""

import asyncio
import logging
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI, HTTPException

from dual_mode_streaming import dual_mode
from dual_mode_streaming.testing import StreamingTransport, read_events

app = FastAPI()
logging.getLogger("dual_mode_streaming").setLevel(logging.CRITICAL)  # no log here


@app.get("/pages")
@dual_mode
async def pages(missing: int) -> AsyncIterator[str]:
    for number in range(1, 4):
        if number == missing:
            raise HTTPException(404, f"there is no page {number}")
        yield f"page {number}"


async def ask(client: httpx.AsyncClient, missing: int, stream: bool) -> None:
    address = f"/pages?missing={missing}&stream={stream}".lower()
    print(f"GET {address}")
    async with client.stream("GET", address) as answer:
        print(f"    status {answer.status_code}, {answer.headers['content-type']}")
        if answer.headers["content-type"].startswith("text/event-stream"):
            async for event in read_events(answer):
                print(f"    {event.event or 'item'}: {event.data}")
        else:
            print(f"    {(await answer.aread()).decode()}")


async def main() -> None:
    transport = StreamingTransport(app, raise_app_exceptions=False)  # a 500, as from a server
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        print("The first page is missing: the error comes before the first item.")
        await ask(client, missing=1, stream=True)
        await ask(client, missing=1, stream=False)
        print("The third page is missing: two pages have already been sent.")
        await ask(client, missing=3, stream=True)
        await ask(client, missing=3, stream=False)


if __name__ == "__main__":
    asyncio.run(main())
