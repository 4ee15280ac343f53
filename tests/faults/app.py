"""An app with recorded endpoints, as a process of its own: `python -m tests.faults.app STORE`.

The parameters determine the items, so that an interrupted run can be compared, byte for byte, with
an uninterrupted one.
"""

import argparse
import asyncio
import os
import signal
from collections.abc import AsyncIterator
from hashlib import sha256

import psutil
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from dual_mode_streaming import Admission, dual_mode, install
from dual_mode_streaming.llm import LLMClient, LLMSettings, llm_routes, provider_by_settings
from dual_mode_streaming.server.routes._frontends import frontend_routes
from dual_mode_streaming.server.run import SignalledServer, StreamingProtocol
from dual_mode_streaming.sse import dumps
from dual_mode_streaming.stores import Limits
from dual_mode_streaming.web import app_state

MODEL = LLMSettings(first=0.02, rate=100, jitter=0.2)
SIGNS = 'aé→𝄞\u2028"\\\n\t{}: '  # difficult for JSON, UTF-8 or lines


class Item(BaseModel):
    """`by` is the process that made the item, or 0 if the request did not ask for it."""

    n: int
    text: str
    by: int = 0


def text_of(seed: int, n: int, size: int) -> str:
    """Return the text of item n, about `size` characters; every 23rd is a hundred times as long."""
    noise = sha256(b"%d %d" % (seed, n)).digest()
    word = "".join(SIGNS[byte % len(SIGNS)] for byte in noise) + noise.hex()
    length = (1 + noise[0]) * size // 128 * (100 if n % 23 == 7 else 1)
    return (word * (length // len(word) + 1))[:length]


def items_of(seed: int, count: int, size: int = 64) -> list[str]:
    """Return the data of all events of an uninterrupted run."""
    items = (Item(n=n, text=text_of(seed, n, size)) for n in range(count))
    return [dumps(item.model_dump()).decode() for item in items]


def make_app(store: str, limits: Limits, **options: float) -> FastAPI:
    """Return the app, with channels and the routes of front ends.

    Another worker can resume `/items`, but neither `/once` nor a front end's stream.
    """
    app = FastAPI()
    install(app, store=store, limits=limits, grace=0.05, channels=True, **options)
    admission, client = Admission(), LLMClient(provider_by_settings(MODEL))
    app.include_router(frontend_routes(client, admission))
    app.include_router(llm_routes(client, admission=admission))
    made = {"items": 0, "bytes": 0}

    async def making(
        first: int, seed: int, count: int, size: int, pause: float, signed: bool
    ) -> AsyncIterator[Item]:
        for n in range(first, count):
            if pause:
                await asyncio.sleep(pause)
            item = Item(n=n, text=text_of(seed, n, size), by=os.getpid() if signed else 0)
            made["items"] += 1
            made["bytes"] += len(item.text.encode())
            yield item

    @app.get("/items")
    @dual_mode(record=True)
    async def items(
        seed: int = 0,
        count: int = 100,
        size: int = 64,
        pause: float = 0.005,
        signed: bool = False,
        resume_from: int = 0,
    ) -> AsyncIterator[Item]:
        async for item in making(resume_from, seed, count, size, pause, signed):
            yield item

    @app.get("/once")
    @dual_mode(record=True)
    async def once(
        seed: int = 0,
        count: int = 100,
        size: int = 64,
        pause: float = 0.005,
        signed: bool = False,
    ) -> AsyncIterator[Item]:
        async for item in making(0, seed, count, size, pause, signed):
            yield item

    @app.get("/left")
    async def left() -> dict[str, int]:
        process = psutil.Process()
        return {
            "answers": len(app_state(app).open_answers),
            "tasks": len(asyncio.all_tasks()),
            "threads": process.num_threads(),
            "descriptors": process.num_fds(),
            "megabytes": process.memory_info().rss // 1_000_000,
        }

    @app.get("/made")
    async def amounts() -> dict[str, int]:
        return made

    return app


def main() -> None:
    """Serve until SIGTERM; print the port as soon as it accepts connections."""
    parser = argparse.ArgumentParser()
    parser.add_argument("store")
    parser.add_argument("--lease", type=float, default=1.0)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--heartbeat", type=float, default=0.25)
    parser.add_argument("--send-timeout", type=float, default=30.0)
    arguments = parser.parse_args()
    app = make_app(
        arguments.store,
        Limits(lease=arguments.lease, stream_entries=arguments.entries),
        heartbeat=arguments.heartbeat,
        send_timeout=arguments.send_timeout,
    )
    config = uvicorn.Config(
        app, port=0, http=StreamingProtocol, log_level="error", timeout_graceful_shutdown=2
    )
    listener = config.bind_socket()
    listener.listen(config.backlog)
    print(listener.getsockname()[1], flush=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from the terminal; the parent process stops it
    SignalledServer(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
