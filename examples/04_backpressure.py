"""What does a fast generator do when its client is slow?

Seen: it waits. The generator can make ten items a second, but the client reads only one a second.
So the generator stays one item ahead, and makes the next item when one has been read. Nothing
collects in memory. This needs no code: `yield` does not return before the item can be sent.

Try next: remove the pause of the client. Then let the generator continue without waiting, and drop
old items: move it to a function `source`, and let the endpoint yield the items of
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
        await asyncio.sleep(0.1)  # ten a second at most
        made += 1
        yield made


def say(text: str) -> None:
    print(f"{asyncio.get_running_loop().time():4.1f} s  {text}")


async def main() -> None:
    transport = StreamingTransport(app)  # it buffers one chunk; a socket buffers more
    async with httpx.AsyncClient(transport=transport, base_url="http://app", timeout=60) as client:
        say("A client opens the stream, and reads one item a second.")
        async with client.stream("GET", "/numbers?stream=true") as answer:
            async for event in read_events(answer):
                say(f"read {event.data}, made {made}   {'#' * made}")
                await asyncio.sleep(1)
                if event.data == "8":
                    break
        say(f"The client read 8 items and left. {made} items were made; 80 were possible.")


if __name__ == "__main__":
    run_with_virtual_clock(main())
