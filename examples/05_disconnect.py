"""What happens to the generator when its client disconnects?

Seen: the client reset its connection. The generator was waiting for its next line. It was cancelled
at this point, and its `finally` block ran to the end, including the `await` in it. So a generator
can open something and close it in `finally`.

Try next: replace the wait with `while True: yield "more"`. The generator is then paused at a
`yield` when the client disconnects. It is closed there, and receives GeneratorExit instead.
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import FastAPI

from dual_mode_streaming import dual_mode
from dual_mode_streaming.testing import RawClient, serving

app = FastAPI()
cleaned_up = asyncio.Event()


async def close_the_log() -> None:
    await asyncio.sleep(0.01)  # closing takes a moment
    print("server: the log is closed")


@app.get("/log")
@dual_mode
async def log() -> AsyncIterator[str]:
    print("server: the log is open")
    try:
        yield "the first line"
        await asyncio.Event().wait()  # there is no further line
    except asyncio.CancelledError:
        print("server: the client has disconnected, the generator is cancelled")
        raise
    finally:
        await close_the_log()
        cleaned_up.set()


async def main() -> None:
    async with serving(app) as url:  # a real server, on a free port
        async with RawClient.get(f"{url}/log?stream=true") as client:
            await client.until(b"data: ")
            print("client: received the first line")
            print("client: resetting the connection")
            client.abort()
            await cleaned_up.wait()


if __name__ == "__main__":
    asyncio.run(main())
