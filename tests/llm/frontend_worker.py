"""A worker to be killed: `python -m tests.llm.frontend_worker STORE` prints its port.

Alone it says one word and then waits; another worker has all of the words.
"""

import asyncio
import sys
from collections.abc import AsyncIterator

from fastapi import FastAPI
from pydantic import BaseModel

from dual_mode_streaming import dual_mode, install
from dual_mode_streaming.llm.wire import AGUI, UIChat, UIMessageStream
from dual_mode_streaming.stores import Limits
from dual_mode_streaming.testing import serving

WORDS = ("one ", "two ", "three")


class Run(BaseModel):
    runId: str


def app_of(store: str, *, waits: bool) -> FastAPI:
    app = FastAPI()
    install(app, store=store, limits=Limits(lease=1.0), signals=False, owner=lambda _: "")

    async def words(first: int = 0) -> AsyncIterator[str]:
        for number in range(first, len(WORDS)):
            if number and waits:
                await asyncio.Event().wait()
            yield WORDS[number]

    @dual_mode(wire=UIMessageStream(), record=True)
    def chat(body: UIChat) -> AsyncIterator[str]:
        return words()

    @dual_mode(wire=AGUI(), record=True)
    def run(body: Run) -> AsyncIterator[str]:
        return words()

    @dual_mode(wire=AGUI(), record=True)
    def resumed(body: Run, resume_from: int) -> AsyncIterator[str]:
        return words(resume_from)

    app.post("/chat")(chat)
    app.get("/chat/{chat_id}/stream")(chat.resume)
    for path, operation in (("/run", run), ("/resumed", resumed)):
        app.post(path)(operation)
        app.get(path)(operation.resume)
    return app


async def main() -> None:
    async with serving(app_of(sys.argv[1], waits=True)) as url:
        print(url.rpartition(":")[2], flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
