"""What does a fast generator do when its reader is slow?

Seen: it waits. The generator could make ten items a second, but its reader takes one a second; so
it stays one item ahead, and makes the next when one is taken. Nothing piles up in memory, and
nobody wrote a line of code for that: `yield` does not return before there is room for the item.

Try next: let the reader take no pause. Then let the generator run on, while old items give way:
move it to a function `source`, and let the endpoint yield the items of
`streams.buffer(source(), 3, overflow=Overflow.DROP_OLDEST)`.
"""

import asyncio
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI

from dual_mode_streaming import dual_mode
from dual_mode_streaming.testing import StreamingTransport, read_events, run_with_virtual_clock

app = FastAPI()
made = 0


@app.get("/numbers")
@dual_mode
async def numbers() -> AsyncIterator[int]:
    global made
    while made < 40:
        await asyncio.sleep(0.1)  # ten a second, if it may
        made += 1
        yield made


def say(text: str) -> None:
    print(f"{asyncio.get_running_loop().time():4.1f} s  {text}")


async def main() -> None:
    transport = StreamingTransport(app)  # it holds one chunk, as a full socket holds a few
    async with httpx.AsyncClient(transport=transport, base_url="http://app", timeout=60) as client:
        say("A reader opens the stream, and takes one item a second.")
        async with client.stream("GET", "/numbers?stream=true") as answer:
            async for event in read_events(answer):
                say(f"read {event.data}, made {made}   {'#' * made}")
                await asyncio.sleep(1)
                if event.data == "8":
                    break
        say(f"It read 8 and left. In this time {made} were made; 80 would have been possible.")


if __name__ == "__main__":
    run_with_virtual_clock(main())
