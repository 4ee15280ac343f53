"""A server with the channels of a store, for clients in other languages: `served.py STORE`."""

import sys
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from dual_mode_streaming import dual_mode, install

app = FastAPI()
app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"])
install(app, store=sys.argv[1], channels=True)


@app.get("/recorded")
@dual_mode(record=True)
async def recorded(upto: int = 3) -> AsyncIterator[int]:
    for number in range(upto):
        yield number


class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        print(f"Serving on http://127.0.0.1:{port}", flush=True)


if __name__ == "__main__":
    Server(uvicorn.Config(app, port=0, log_level="warning")).run()
