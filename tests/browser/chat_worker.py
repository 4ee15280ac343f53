"""A worker that answers the page of example 13: `python -m tests.browser.chat_worker STORE PORT`.

It gives the words that a test allows (`POST /allow`), and cuts connections (`POST /cut`).
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.staticfiles import StaticFiles

from dual_mode_streaming import dual_mode, install
from dual_mode_streaming.llm.wire import UIChat, UIMessageStream
from dual_mode_streaming.stores import Limits

PAGE = Path(__file__).parent.parent.parent / "examples" / "frontends"
WORDS = [f"{word} " for word in ["It", "is", "boiled,", "it", "steeps,", "it", "is", "poured."]]


class Cutting:
    """An app whose open streams break off, without an end, when `cuts` is raised."""

    def __init__(self, app):
        self.app, self.cuts = app, 0

    async def __call__(self, scope, receive, send):
        before = self.cuts

        async def cutting(message):
            if self.cuts != before and scope["path"].startswith("/api/chat"):
                raise ConnectionAbortedError
            await send(message)

        await self.app(scope, receive, cutting)


def app_of(store: str) -> Cutting:
    app = FastAPI()
    install(app, store=store, limits=Limits(lease=1.0), signals=False, owner=lambda _: "")
    allowed = asyncio.Semaphore(0)
    runs = 0

    async def words() -> AsyncIterator[str]:
        for word in WORDS:
            await allowed.acquire()
            yield word

    @dual_mode(wire=UIMessageStream(), record=True)
    def chat(body: UIChat) -> AsyncIterator[str]:
        nonlocal runs
        runs += 1
        text = body.chat().messages[-1].text
        if text.isdecimal():
            raise HTTPException(int(text), "this is refused")
        return words()

    @app.post("/allow")
    async def allow(count: int) -> int:
        for _ in range(count):
            allowed.release()
        return runs

    @app.post("/cut")
    async def cut() -> None:
        cutting.cuts += 1

    app.post("/api/chat")(chat)
    app.get("/api/chat/{chat_id:path}/stream")(chat.resume)
    app.post("/api/chat/{chat_id:path}/stop")(chat.stop)
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    cutting = Cutting(app)
    return cutting


async def main(store: str, port: int) -> None:
    config = uvicorn.Config(app_of(store), port=port, log_level="critical")
    listener = config.bind_socket()
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    await uvicorn.Server(config).serve([listener])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
