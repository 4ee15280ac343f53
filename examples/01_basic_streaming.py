"""How does one function answer as a document and as a live stream?

Seen: the document arrived once, when everything was done. The stream arrived item by item, at 1, 2
and 3 s, and ended with `done`. Both have the same items, because the same generator made them.

Try next: count to 5. Request `application/jsonl`, and print `answer.aiter_lines()`.
"""

import asyncio
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI

from dual_mode_streaming import dual_mode
from dual_mode_streaming.testing import StreamingTransport, read_events, run_with_virtual_clock

app = FastAPI()


@app.get("/count")
@dual_mode
async def count(to: int = 3) -> AsyncIterator[dict[str, int]]:
    for number in range(1, to + 1):
        await asyncio.sleep(1)  # work that takes time
        yield {"number": number}


def say(text: str) -> None:
    print(f"{asyncio.get_running_loop().time():4.1f} s  {text}")


async def main() -> None:
    # The app runs in this process, on a virtual clock: waiting takes no time.
    transport = StreamingTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app", timeout=60) as client:
        say("A client requests /count with the default Accept header, and waits.")
        answer = await client.get("/count")
        say(f"It receives the whole document: {answer.text}")

    async with httpx.AsyncClient(transport=transport, base_url="http://app", timeout=60) as client:
        say("Another client requests /count as an event stream.")
        headers = {"Accept": "text/event-stream"}
        async with client.stream("GET", "/count", headers=headers) as answer:
            async for event in read_events(answer):
                say(f"It receives {event.event or 'an item'}: {event.data}")


if __name__ == "__main__":
    run_with_virtual_clock(main())
