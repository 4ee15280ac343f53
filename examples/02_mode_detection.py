"""Who decides whether an answer is a document or a stream?

Seen: the default is a document. The client chooses with the Accept header; if the header names
several types, their weights (q) decide. The query parameter `stream` overrides the header, which is
useful for curl and for links. If a client accepts no available type, it gets a 406 with a list.

Try next: give two types the same q. Look up what your browser sends as Accept, and try that.
"""

import asyncio
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI

from dual_mode_streaming import detect_mode, dual_mode
from dual_mode_streaming.testing import StreamingTransport

app = FastAPI()


@app.get("/letters")
@dual_mode
async def letters() -> AsyncIterator[str]:
    for letter in "abc":
        yield letter


REQUESTS = [
    ("", "*/*"),
    ("", "application/json"),
    ("", "text/event-stream"),
    ("", "application/jsonl"),
    ("", "application/json;q=0.5, text/event-stream;q=0.9"),
    ("", "text/html, */*;q=0.8"),
    ("?stream=true", "application/json"),
    ("?stream=false", "text/event-stream"),
    ("", "image/png"),
]


async def main() -> None:
    transport = StreamingTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        for flag, accept in REQUESTS:
            answer = await client.get(f"/letters{flag}", headers={"Accept": accept})
            print(f"GET /letters{flag}   Accept: {accept}")
            print(f"    {answer.status_code}  {answer.headers['content-type']}")
        print(f"available types: {answer.json()['available']}")

    # The same decision as a function, for your own code.
    print(f"detect_mode for an event stream: {detect_mode('text/event-stream')}")
    print(f"the same with stream=False: {detect_mode('text/event-stream', stream=False)}")


if __name__ == "__main__":
    asyncio.run(main())
