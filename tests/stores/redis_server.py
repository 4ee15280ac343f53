"""A Redis for tests, in a folder of its own."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.conftest import not_available


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class RedisServer:
    """A `redis-server` with a port and a Unix socket, which can be killed and started again."""

    def __init__(
        self,
        folder: Path,
        *flags: str,
        environment: dict[str, str] | None = None,
        program: str | None = None,
    ) -> None:
        self.program = program or "redis-server"
        self.environment = os.environ | (environment or {})
        self.folder = folder
        self.flags = flags
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        program = shutil.which(self.program) or not_available(self.program)
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *self.flags]
        options += ["--unixsocket", str(self.folder / "socket")]
        options += ["--dir", str(self.folder), "--logfile", "log"]
        self._process = subprocess.Popen([program, *options], env=self.environment)
        deadline = time.monotonic() + 60
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError((self.folder / "log").read_text())
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill the server, as in a crash."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(60)
            self._process = None

    def signal(self, number: int) -> None:
        """Send a signal to the server."""
        assert self._process is not None
        self._process.send_signal(number)

    def ask(self, command: str) -> str:
        """Send a command of one line, and return the answer."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(command.encode() + b"\r\n")
            with connection.makefile("rb") as answers:
                first = answers.readline().decode().strip()
                if first.startswith("$"):
                    return answers.read(int(first[1:])).decode()
                return first

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.ask("PING") == "+PONG"
        return False
