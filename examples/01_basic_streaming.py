"""How does one function answer with a whole document, and also live?

Seen: the document came once, when all was done. The stream came item by item, at 1, 2 and 3 s, and
then said that it was whole (`done`). Both have the same items: one generator made both.

Try next: let it count to 5. Ask for `application/jsonl`, and print `answer.aiter_lines()`.
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
        await asyncio.sleep(1)  # the work that takes its time
        yield {"number": number}


def say(text: str) -> None:
    print(f"{asyncio.get_running_loop().time():4.1f} s  {text}")


async def main() -> None:
    # The app runs inside this process, and its clock is a virtual one: a second costs nothing.
    transport = StreamingTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app", timeout=60) as client:
        say("A client asks for /count and says no more. It waits.")
        answer = await client.get("/count")
        say(f"It has the whole document: {answer.text}")

    async with httpx.AsyncClient(transport=transport, base_url="http://app", timeout=60) as client:
        say("Another client asks for /count as an event stream.")
        wish = {"Accept": "text/event-stream"}
        async with client.stream("GET", "/count", headers=wish) as answer:
            async for event in read_events(answer):
                say(f"It has {event.event or 'an item'}: {event.data}")


if __name__ == "__main__":
    run_with_virtual_clock(main())
