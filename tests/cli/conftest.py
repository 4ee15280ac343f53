"""The commands as processes, a quick service, and a server that follows a script."""

import contextlib
import fcntl
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.conftest import DUAL_MODE, ROOT, run_service
from tests.helpers.scripted import SocketServer, socket_server

PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("DUAL_MODE_")}


class Done(NamedTuple):
    """What became of a command."""

    code: int
    stdout: str
    stderr: str


class Commands:
    """Runs commands to their end; see `forks`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, *arguments: str, input: str | None = None) -> Done:
        return self.all([*arguments], input=input)[0]

    def all(self, *commands: list[str], input: str | None = None) -> list[Done]:
        """Run them all at once."""
        self._process.stdin.write(json.dumps([[each, input] for each in commands]) + "\n")
        self._process.stdin.flush()
        return [Done(*each) for each in json.loads(self._process.stdout.readline())]


@pytest.fixture(scope="package")
def run() -> Iterator[Commands]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.cli.forks"],
        cwd=ROOT,
        env=PLAIN,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        yield Commands(process)
        process.stdin.close()


@contextlib.contextmanager
def started(*arguments: str, **options) -> Iterator[subprocess.Popen[str]]:
    """A command that runs while the block does."""
    settings = {"stdin": subprocess.DEVNULL, "text": True, "env": PLAIN}
    settings |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([DUAL_MODE, *arguments], **(settings | options)) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)


@pytest.fixture(scope="package")
def quick() -> Iterator[str]:
    """The URL of a service whose model says a hundred words a second."""
    speed = {"DUAL_MODE_LLM_FIRST": "0", "DUAL_MODE_LLM_RATE": "100", "DUAL_MODE_LLM_JITTER": "0"}
    with run_service("--log-level", "error", **speed) as running:
        yield running.url


def _at_its_terminal() -> None:
    """The terminal is the session's, and its end is heard: nohup, perhaps, has it ignored."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, *arguments: str, **variables: str) -> None:
        self._terminal, theirs = os.openpty()
        self.process = subprocess.Popen(
            [DUAL_MODE, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=PLAIN | {"TERM": "xterm", "INPUTRC": os.devnull} | variables,
            start_new_session=True,
            preexec_fn=_at_its_terminal,
        )
        os.close(theirs)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def until(self, text: str) -> str:
        """What is on the screen up to this text, from where the last one ended."""
        while text not in self.seen:
            ready, _, _ = select.select([self._terminal], [], [], 60)
            assert ready, f"{text!r} did not come, but {self.seen!r}"
            self.seen += os.read(self._terminal, 65536).decode().replace("\r\n", "\n")
        before, _, self.seen = self.seen.partition(text)
        return before

    def leave(self) -> int:
        """Ctrl-C at a prompt, and the exit code. A signal that comes between readline's prompt and
        its wait is heard at the next key only: who waits in vain presses again."""
        for _ in range(20):
            self.type("\x03")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
                break
        return self.left()

    def left(self) -> int:
        """The exit code, once it has left."""
        with contextlib.suppress(OSError):  # EIO: nobody writes there any more
            while more := os.read(self._terminal, 65536):
                self.seen += more.decode()
        return self.process.wait(60)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._terminal)


@pytest.fixture
def scripted() -> Iterator[SocketServer]:
    with socket_server() as server:
        yield server


@pytest.fixture
def channel(quick):
    """The URL of a channel that is not there yet."""
    return f"{quick}/channels/cli/{secrets.token_hex(8)}"


def respond(status, *headers, body=b""):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return lambda connection: connection.socket.sendall(
        "\r\n".join([*lines, "", ""]).encode() + body
    )
