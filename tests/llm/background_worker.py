"""A worker to be killed: `python -m tests.llm.background_worker STORE` prints its port."""

import asyncio
import sys

from fastapi import FastAPI

from dual_mode_streaming import install
from dual_mode_streaming.llm import LLMClient, Simulator, llm_routes
from dual_mode_streaming.llm.simulator._pace import Pace
from dual_mode_streaming.stores import Limits
from dual_mode_streaming.testing import serving


async def main() -> None:
    app = FastAPI()
    install(app, store=sys.argv[1], limits=Limits(lease=1.0), signals=False, owner=lambda _: "")
    model = Simulator(pace=Pace(rate=2))
    app.include_router(llm_routes(LLMClient(model)))
    async with serving(app) as url:
        print(url.rpartition(":")[2], flush=True)
        await asyncio.Event().wait()


asyncio.run(main())
