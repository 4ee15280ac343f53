"""How does a job report its progress, and still have a plain result?

Seen: the job is ordinary blocking code that reads a file and computes its hash. It yields after
each piece, so a client of the stream sees the progress. A plain generator runs in a thread, so the
server is free for other requests. The document is only the last item, because `fold` chooses it.

Try next: hash a file of your own. Leave the stream at 50 percent, and print `file.closed` in an
outer `finally`.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from dual_mode_streaming import dual_mode
from dual_mode_streaming.testing import StreamingTransport, read_events

app = FastAPI()
PIECE = 1024 * 1024


async def last(items: AsyncIterator[dict[str, Any]]) -> dict[str, Any]:
    return [item async for item in items][-1]


@app.get("/hash")
@dual_mode(fold=last)
def hash_of(name: str) -> Iterator[dict[str, Any]]:
    size, digest = Path(name).stat().st_size, hashlib.sha256()
    with open(name, "rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            yield {"percent": 100 * file.tell() // size}
    yield {"percent": 100, "sha256": digest.hexdigest()}


async def main() -> None:
    transport = StreamingTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"stream" * PIECE)
            file.flush()
            print("A client watches the progress of hashing six megabytes.")
            params = {"name": file.name, "stream": "true"}
            async with client.stream("GET", "/hash", params=params) as answer:
                async for event in read_events(answer):
                    print(f"    {event.event or 'item'}: {event.data}")
            print("Another client requests only the result.")
            print(f"    {(await client.get('/hash', params={'name': file.name})).text}")


if __name__ == "__main__":
    asyncio.run(main())
