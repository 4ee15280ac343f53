"""How does a page with useChat go on after it was reloaded in mid-answer?

Seen: the answer is recorded under the id of its chat, so it goes on without a reader. The page that
came back got it whole, with the same message id, and then live: no message is there twice. When
nothing runs, the endpoint is a 204, and the page shows what it has saved. Node ran the page here.

Try next: see it in a browser: `.venv/bin/uvicorn --app-dir examples 13_usechat_page:app`. Reload it
in mid-answer, open its address in a second tab, and stop the answer there.
"""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import Depends, FastAPI
from fastapi.staticfiles import StaticFiles

from dual_mode_streaming import dual_mode, install
from dual_mode_streaming.llm.wire import UIChat, UIMessageStream
from dual_mode_streaming.testing import serving

FRONTENDS = Path(__file__).parent / "frontends"
ANSWER = "Water is boiled, leaves are added, it steeps for four minutes, and it is poured."
reloaded = asyncio.Event()
app = FastAPI()
install(app)  # in memory; with store="sqlite:PATH" or a Redis every worker resumes and stops


@app.post("/api/chat")
@dual_mode(wire=UIMessageStream(), record=True)
async def chat(body: UIChat) -> AsyncIterator[str]:
    for number, word in enumerate(ANSWER.split(" ")):
        if number == 5:
            await reloaded.wait()
        yield f"{word} "
        await asyncio.sleep(0.1)


async def note() -> None:
    reloaded.set()


app.get("/api/chat/{chat_id}/stream", dependencies=[Depends(note)])(chat.resume)
app.post("/api/chat/{chat_id}/stop")(chat.stop)
app.mount("/", StaticFiles(directory=FRONTENDS, html=True))


async def main() -> None:
    async with serving(app) as url:
        command = ["node", str(FRONTENDS / "usechat.mjs"), url]
        node = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        print((await node.communicate())[0].decode(), end="")


if __name__ == "__main__":
    asyncio.run(main())
