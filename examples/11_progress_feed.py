"""How does a job tell how far it is, and still have a plain result?

Seen: the job is ordinary code that blocks: it reads a file and hashes it. It yields after each
piece, so a reader of the stream sees it advance. The server stays free meanwhile: a plain generator
runs in a thread. Who asks for a document gets the last item alone; that is what `fold` chooses.

Try next: hash a file of yours. Leave the stream at 50 percent, and print `file.closed` in an outer
`finally`.
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
            print("A reader watches six megabytes being hashed.")
            wish = {"name": file.name, "stream": "true"}
            async with client.stream("GET", "/hash", params=wish) as answer:
                async for event in read_events(answer):
                    print(f"    {event.event or 'item'}: {event.data}")
            print("Another only wants the result.")
            print(f"    {(await client.get('/hash', params={'name': file.name})).text}")


if __name__ == "__main__":
    asyncio.run(main())
