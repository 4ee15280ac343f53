"""What happens to the generator when its reader is gone?

Seen: the reader tore its connection, without a word. The generator waited for its next line then;
it was cancelled right there, and its `finally` ran to the end, also the part that has to wait. What
is opened in a generator can therefore be closed in its `finally`.

Try next: put `while True: yield "more"` in the place of the wait. When the reader leaves, the
generator is at a `yield` then: it is closed there, and sees GeneratorExit instead.
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import FastAPI

from dual_mode_streaming import dual_mode
from dual_mode_streaming.testing import RawClient, serving

app = FastAPI()
cleaned_up = asyncio.Event()


async def close_the_log() -> None:
    await asyncio.sleep(0.01)  # what must be closed may take a moment for it
    print("server: the log is closed")


@app.get("/log")
@dual_mode
async def log() -> AsyncIterator[str]:
    print("server: the log is open")
    try:
        yield "the first line"
        await asyncio.Event().wait()  # no further line comes
    except asyncio.CancelledError:
        print("server: the reader is gone, I am cancelled")
        raise
    finally:
        await close_the_log()
        cleaned_up.set()


async def main() -> None:
    async with serving(app) as url:  # a real server, on a free port
        async with RawClient.get(f"{url}/log?stream=true") as client:
            await client.until(b"data: ")
            print("client: I have a first line")
            print("client: and now I tear the connection")
            client.abort()
            await cleaned_up.wait()


if __name__ == "__main__":
    asyncio.run(main())
