"""How does an agent share its state with a page, and ask before it acts?

Seen: the page is any client of AG-UI, here `@ag-ui/client` in Node. Text and `StreamEvent`s become
its events. State is given as objects of the protocol: a snapshot, then patches. The first run ended
with an interrupt, so the client sent its user's answer with the next one.

Try next: let the run fail, and see that no success is told. Stop one: `POST /agui/run-1/stop`.
"""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from dual_mode_streaming import dual_mode, install
from dual_mode_streaming.llm.wire import AGUI, AGUIRun
from dual_mode_streaming.testing import serving

FRONTENDS = Path(__file__).parent / "frontends"
app = FastAPI()
install(app)


@app.post("/agui")
@dual_mode(wire=AGUI(), record=True)
async def agent(run: AGUIRun) -> AsyncIterator[str | dict[str, Any]]:
    if not run.resume:
        yield {"type": "STATE_SNAPSHOT", "snapshot": {"cups": 2, "water": "cold"}}
        yield "I can boil "
        yield "the water."
        asks = {"id": "boil", "reason": "approval", "message": "Shall I?"}
        yield {"type": "RUN_FINISHED", "outcome": {"type": "interrupt", "interrupts": [asks]}}
    elif run.resume[0]["payload"]["yes"]:
        yield {
            "type": "STATE_DELTA",
            "delta": [{"op": "replace", "path": "/water", "value": "hot"}],
        }
        yield "Tea is ready."


app.get("/agui")(agent.resume)
app.post("/agui/{runId}/stop")(agent.stop)


async def main() -> None:
    async with serving(app) as url:
        command = ["node", str(FRONTENDS / "agui.mjs"), url]
        node = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        print((await node.communicate())[0].decode(), end="")


if __name__ == "__main__":
    asyncio.run(main())
