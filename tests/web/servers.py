"""The servers that an app of ours runs under, each as a process of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

COMMANDS = {
    "uvicorn": ["uvicorn", "served:app", "--port", "{port}", "--log-level", "warning"],
    "uvicorn-h11": [
        *("uvicorn", "served:app", "--port", "{port}", "--log-level", "warning"),
        *("--http", "h11", "--loop", "asyncio"),
    ],
    # Without -w 0 there is a process above, which sends its worker no signal.
    "hypercorn": ["hypercorn", "served:app", "--bind", "127.0.0.1:{port}", "-w", "0"],
    "granian": ["granian", "--interface", "asgi", "--port", "{port}", "served:app"],
}


@contextlib.contextmanager
def started(name: str, app: str, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The process of a server with the app of that source text, and its URL, once it answers."""
    (folder / "served.py").write_text(app)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *(part.format(port=port) for part in COMMANDS[name])],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, (folder / "log").read_text()
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{url}/is-it-there")
                break
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)  # it tells nobody when it is ready
        yield process, url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
