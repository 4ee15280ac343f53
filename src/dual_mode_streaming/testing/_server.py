"""A real server for an ASGI app, on a free port, during a block."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any


@contextlib.asynccontextmanager
async def serving(app: Any, *, stop_timeout: float = 10.0, **config: Any) -> AsyncIterator[str]:
    """Serve `app` with uvicorn in this event loop, and yield the base URL.

    At the end of the block the server is stopped. It needs the extra `server`.

    Args:
        app: the ASGI application.
        stop_timeout: seconds that the server may take to close its connections.
        config: options for `uvicorn.Config`.

    Raises:
        TimeoutError: connections were still open after `stop_timeout`.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise ImportError("serving() needs: pip install 'dual-mode-streaming[server]'") from error

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Any:  # the test process keeps its own handlers
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
                raise RuntimeError("the server failed to start; see its log")
            await asyncio.sleep(0.001)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        async with asyncio.timeout(stop_timeout):
            await asyncio.wait({task})
        listener.close()
