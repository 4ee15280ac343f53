"""How does a reader go on after its connection was cut?

Seen: nothing was lost and nothing came twice. Each event has an id; a reader shows the last one it
has got as Last-Event-ID when it comes again, and the endpoint goes on behind it. A browser's
EventSource does all of this by itself. At the id of the end there is nothing more to send: 204.

Try next: let the endpoint refuse an id that is no number. Leave out `id=` and the parameter: ids
are then made up, new for each answer; who shows one starts afresh, and `event: reset` tells it.
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
    print(f"    server: I begin behind number {seen}")
    for number, chapter in enumerate(CHAPTERS[seen:], seen + 1):
        yield ServerSentEvent(data=chapter, id=str(number))


async def read(client: httpx.AsyncClient, last: str, most: int) -> str:
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
    async with client.stream("GET", "/story", headers=headers) as answer:
        if answer.status_code == 204:
            print("    reader: 204, there is no more")
            return last
        async for event in read_events(answer):
            print(f"    reader: {event.event or event.id}: {event.data}")
            last, most = event.id or last, most - 1
            if most == 0:
                break  # and with the block the connection is left
    return last


async def main() -> None:
    transport = StreamingTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        last = ""
        for what, most in [("A reader comes, and is cut off.", 3), ("Again.", 9), ("Again.", 9)]:
            print(f"{what} It shows the id {'of the end' if '.' in last else last or '(none)'}.")
            last = await read(client, last, most)


if __name__ == "__main__":
    asyncio.run(main())
