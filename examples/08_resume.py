"""How does a client continue after its connection was cut?

Seen: no item was missing, and none arrived twice. Each event has an id. A client that reconnects
sends the last id as Last-Event-ID, and the endpoint continues after it. A browser's EventSource
does this by itself. With the id of the end there is nothing more to send, and the answer is 204.

Try next: refuse an id that is not a number. Remove `id=` and the parameter: the ids are then new
for each answer, and a client that reconnects starts again, with `event: reset` first.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import httpx
from fastapi import FastAPI, Header

from dual_mode_streaming import ServerSentEvent, dual_mode
from dual_mode_streaming.testing import StreamingTransport, read_events

app = FastAPI()
CHAPTERS = ["the call", "the road", "the storm", "the island", "the way home"]


@app.get("/story")
@dual_mode
async def story(
    last_event_id: Annotated[str | None, Header()] = None,
) -> AsyncIterator[ServerSentEvent]:
    seen = int(last_event_id) if last_event_id and last_event_id.isdecimal() else 0
    print(f"    server: starting after number {seen}")
    for number, chapter in enumerate(CHAPTERS[seen:], seen + 1):
        yield ServerSentEvent(data=chapter, id=str(number))


async def read(client: httpx.AsyncClient, last: str, most: int) -> str:
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
    async with client.stream("GET", "/story", headers=headers) as answer:
        if answer.status_code == 204:
            print("    client: 204, there is no more")
            return last
        async for event in read_events(answer):
            print(f"    client: {event.event or event.id}: {event.data}")
            last, most = event.id or last, most - 1
            if most == 0:
                break  # leaving the block closes the connection
    return last


async def main() -> None:
    transport = StreamingTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        last = ""
        for what, most in [("It connects, and is cut.", 3), ("It reconnects.", 9), ("Again.", 9)]:
            print(f"{what} Last-Event-ID: {'of the end' if '.' in last else last or 'none'}")
            last = await read(client, last, most)


if __name__ == "__main__":
    asyncio.run(main())
