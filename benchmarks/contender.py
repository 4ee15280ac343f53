"""One contender in a process of its own, and what the operating system says of that process.

python benchmarks/contender.py NAME    serves contenders/NAME.py, and prints its port
"""

import asyncio
import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import uvicorn
from contenders import items

__all__ = ["Contender", "running"]

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


class Contender:
    """A server that runs: where it is, and what it has cost so far."""

    def __init__(self, name: str, process: subprocess.Popen[str], port: int) -> None:
        self.name = name
        self.port = port
        self._process = process
        self._of_system = psutil.Process(process.pid)

    @property
    def cpu(self) -> float:
        """Seconds of CPU, of all its threads, by the operating system."""
        if sys.platform == "linux":  # the process' own clock; /proc would count in ticks of 10 ms
            return time.clock_gettime((~self._process.pid << 3) | 2)
        times = self._of_system.cpu_times()
        return times.user + times.system

    @property
    def memory(self) -> int:
        """Resident bytes."""
        return int(self._of_system.memory_info().rss)


@contextlib.asynccontextmanager
async def running(name: str) -> AsyncIterator[Contender]:
    """Start a contender; kill it at the end, since some hang."""
    command = [sys.executable, __file__, name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
    try:
        assert process.stdout is not None
        line = await asyncio.to_thread(process.stdout.readline)
        yield Contender(name, process, int(line))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def serve(name: str) -> None:
    if len(CORES) > 1:
        os.sched_setaffinity(0, {CORES[-1]})  # the load comes from the others
    inner = importlib.import_module(f"contenders.{name}").app

    async def app(scope, receive, send):
        """Two paths are answered for all alike, since they are to measure the event loop."""
        if scope.get("path") not in ("/ping", "/state"):
            return await inner(scope, receive, send)
        body = json.dumps(items.state()).encode() if scope["path"] == "/state" else b"{}"
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            print(listener.getsockname()[1], flush=True)

    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", log_level="critical", access_log=False, backlog=2048
    )
    Server(config).run(sockets=[listener])


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    serve(sys.argv[1])
