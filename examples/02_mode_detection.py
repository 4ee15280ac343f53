"""Who decides whether an answer is a document or a stream?

Seen: without a wish it is a document. The Accept header chooses, by its q where it names several.
The `stream` flag in the address wins over the header, either way: it is for curl, and for links.
A client that accepts nothing that there is gets a 406 that lists what there is.

Try next: give two types the same q. Read what your browser sends as Accept, and try that.
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


WISHES = [
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
        for flag, accept in WISHES:
            answer = await client.get(f"/letters{flag}", headers={"Accept": accept})
            print(f"GET /letters{flag}   Accept: {accept}")
            print(f"    {answer.status_code}  {answer.headers['content-type']}")
        print(f"and what there is: {answer.json()['available']}")

    # The same decision for code of your own.
    print(f"detect_mode for an event stream: {detect_mode('text/event-stream')}")
    print(f"the same with stream=False: {detect_mode('text/event-stream', stream=False)}")


if __name__ == "__main__":
    asyncio.run(main())
