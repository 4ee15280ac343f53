"""What does a client see of an error, before the first byte and after it?

Seen: before the first item nothing has left, so the error has its true status, in both modes. After
it the status 200 is on its way and cannot be called back: the stream says `event: error`, and a
`done` does not come. A document is only sent when it is whole, so there it is always the status.

Try next: raise a ZeroDivisionError instead: the client is told a 500, and nothing of its text.
Ask for `application/jsonl`: its transfer breaks off, which httpx tells as RemoteProtocolError.
"""

import asyncio
import logging
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI, HTTPException

from dual_mode_streaming import dual_mode
from dual_mode_streaming.testing import StreamingTransport, read_events

app = FastAPI()
logging.getLogger("dual_mode_streaming").setLevel(logging.CRITICAL)  # or the error is logged, too


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
    transport = StreamingTransport(app, raise_app_exceptions=False)  # as servers do: a 500
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        print("The first page is missing: the error comes before the first byte.")
        await ask(client, missing=1, stream=True)
        await ask(client, missing=1, stream=False)
        print("The third page is missing: two pages have left already.")
        await ask(client, missing=3, stream=True)
        await ask(client, missing=3, stream=False)


if __name__ == "__main__":
    asyncio.run(main())
