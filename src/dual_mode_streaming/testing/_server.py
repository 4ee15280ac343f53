"""A real server around an ASGI app, on a free port, for the length of a block."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

__all__ = ["serving"]


@contextlib.asynccontextmanager
async def serving(app: Any, *, stop_timeout: float = 10.0, **config: Any) -> AsyncIterator[str]:
    """Serve `app` by uvicorn in this event loop; gives the base URL.

    `config` goes to `uvicorn.Config`. At the end of the block the server is stopped; TimeoutError
    if it still has open connections after `stop_timeout` seconds. Needs the `server` extra.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise ImportError("serving() needs: pip install 'dual-mode-streaming[server]'") from error

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Any:  # the test's process keeps its own
            yield

    defaults: dict[str, Any] = {
        "port": 0,
        "log_level": "error",
        "lifespan": "on",
        "timeout_graceful_shutdown": 2,
    }
    server = Server(uvicorn.Config(app, **(defaults | config)))
    listener = server.config.bind_socket()
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if task.done():
                task.result()
                raise RuntimeError("the server ended before it had started")
            await asyncio.sleep(0.001)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        async with asyncio.timeout(stop_timeout):
            await asyncio.wait({task})
        listener.close()
