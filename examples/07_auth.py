"""How is a client refused before a stream begins?

Seen: without a valid key the answer is a plain 401, in each mode. The generator was not started, so
no query is made and no model is called. FastAPI runs dependencies before the endpoint, as always.

Try next: a browser's EventSource cannot send an Authorization header. Let `user` also read a cookie
(`fastapi.Cookie`). Raise 403 for a user who may not read this report.
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
        raise HTTPException(401, "the key is missing or unknown", {"WWW-Authenticate": "Bearer"})
    return USERS[authorization]


@app.get("/report")
@dual_mode
async def report(name: Annotated[str, Depends(user)]) -> AsyncIterator[str]:
    print("    (the generator has started)")
    yield f"Hello {name}"
    yield "this is your report"


async def ask(client: httpx.AsyncClient, who: str, key: str, accept: str) -> None:
    print(f"{who} requests {accept}")
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
