"""How is a client refused before a stream begins?

Seen: without the right key it is a plain 401, in each mode, and the generator was never started: no
query is made, no model is asked. FastAPI's dependencies run before the endpoint, as for any other.

Try next: a browser's EventSource cannot send an Authorization header. Let `user` read a cookie
as well (`fastapi.Cookie`). Raise 403 for a user who may not read this very report.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, Header, HTTPException

from dual_mode_streaming import dual_mode
from dual_mode_streaming.testing import StreamingTransport

app = FastAPI()
USERS = {"Bearer key-of-ada": "Ada"}


async def user(authorization: Annotated[str, Header()] = "") -> str:
    if authorization not in USERS:
        raise HTTPException(401, "who are you?", {"WWW-Authenticate": "Bearer"})
    return USERS[authorization]


@app.get("/report")
@dual_mode
async def report(name: Annotated[str, Depends(user)]) -> AsyncIterator[str]:
    print("    (the generator has started)")
    yield f"Hello {name}"
    yield "this is your report"


async def ask(client: httpx.AsyncClient, who: str, key: str, accept: str) -> None:
    print(f"{who} asks for {accept}")
    answer = await client.get("/report", headers={"Authorization": key, "Accept": accept})
    print(f"    status {answer.status_code}, {answer.headers['content-type']}")


async def main() -> None:
    transport = StreamingTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        for accept in ("application/json", "text/event-stream"):
            await ask(client, "A stranger", "Bearer guessed", accept)
            await ask(client, "Ada", "Bearer key-of-ada", accept)


if __name__ == "__main__":
    asyncio.run(main())
