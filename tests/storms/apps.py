"""The servers of the storms, each a process of its own: `python -m tests.storms.apps NAME`.

`native` is the service's `/data` as it would be by FastAPI's own Server-Sent Events; `witness` is
the service with generators of three tempers, and a route that tells what is there of them.
"""

import asyncio
import gc
import sys
import types
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any

import psutil
import uvicorn
from fastapi import FastAPI
from fastapi.sse import EventSourceResponse

from dual_mode_streaming import dual_mode
from dual_mode_streaming.server.app import Item, create_app
from dual_mode_streaming.server.run import SignalledServer, StreamingProtocol, bound

LARGE = "x" * 60_000


def native() -> FastAPI:
    """FastAPI's own."""
    app = FastAPI()

    @app.get("/data", response_class=EventSourceResponse)
    async def data(count: int, interval: float) -> AsyncIterable[Item]:
        for index in range(count):
            if interval and index:
                await asyncio.sleep(interval)
            yield Item(index=index, message=f"Item {index + 1} of {count}")

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return app


def witness() -> FastAPI:
    """The service, and generators that are counted."""
    app = create_app()
    open_now = made = 0

    def counted(temper: Callable[[], AsyncIterator[str]]) -> Any:
        async def generator() -> AsyncIterator[str]:
            nonlocal open_now, made
            open_now += 1
            try:
                async for item in temper():
                    made += 1
                    yield item
            finally:
                open_now -= 1

        return generator

    @counted
    async def idle() -> AsyncIterator[str]:
        yield "first"
        await asyncio.Event().wait()

    @counted
    async def busy() -> AsyncIterator[str]:
        while True:
            yield "x" * 100

    @counted
    async def stalled() -> AsyncIterator[str]:
        while True:
            yield LARGE

    for name, generator in {"idle": idle, "busy": busy, "stalled": stalled}.items():
        app.get(f"/{name}")(dual_mode(generator))

    @app.get("/made")
    async def how_many() -> int:
        return made

    @app.get("/witness")
    async def look() -> dict[str, int]:
        gc.collect()
        objects = gc.get_objects()
        process = psutil.Process()
        return {
            "open": open_now,
            "generators": sum(type(thing) is types.AsyncGeneratorType for thing in objects),
            "tasks": len(asyncio.all_tasks()),
            "sockets": len(process.net_connections("tcp")),
            "files": process.num_fds(),
            "rss": process.memory_info().rss,
        }

    return app


def main(name: str) -> None:
    """Serve it as `dual-mode serve` does, but for the protocol, which is uvicorn's for `native`."""
    config = uvicorn.Config(
        {"native": native, "witness": witness}[name](),
        http=StreamingProtocol if name == "witness" else "httptools",
        loop="uvloop",
        log_level="warning",
        timeout_graceful_shutdown=10,
    )
    config.port = 0
    listener = bound(config)
    print(f"Serving on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    SignalledServer(config).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1])
