"""The commands as processes, a quick service, and a server that does as the test has written."""

import contextlib
import fcntl
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest

from tests.conftest import DUAL_MODE, ROOT, run_service

PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("DUAL_MODE_")}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


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
            ready, _, _ = select.select([self._terminal], [], [], 20)
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
        return self.process.wait(10)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._terminal)


class Connection:
    """One connection to a `Scripted` server, after its request has come."""

    def __init__(self, connection: socket.socket, request: str) -> None:
        self.socket = connection
        self.request = request

    def send(self, *frames: bytes, head: bytes = HEAD) -> None:
        """The head of a stream, and chunks."""
        self.socket.sendall(head)
        self.chunks(*frames)

    def chunks(self, *frames: bytes) -> None:
        for frame in frames:
            self.socket.sendall(b"%x\r\n%s\r\n" % (len(frame), frame))

    def end(self) -> None:
        self.socket.sendall(b"0\r\n\r\n")

    def wait_until_gone(self) -> None:
        with contextlib.suppress(OSError):
            while self.socket.recv(65536):
                pass


@dataclass
class Scripted:
    """A server whose answers are functions, one a connection; a connection closes behind each."""

    listener: socket.socket
    url: str
    answers: list[Callable[[Connection], None]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            request = b""
            while not _is_whole(request):
                if not (more := connection.recv(65536)):
                    return
                request += more
            self.asked.append(request.decode())
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            answer(Connection(connection, request.decode()))


def _is_whole(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Scripted(listener, f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(target=server.serve)
        thread.start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
