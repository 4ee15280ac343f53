"""Thousands of readers of a server: the files they need, the server, and how long others wait."""

import contextlib
import http.client
import json
import math
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.helpers.service import ROOT, Service, open_streams, run_service

LOAD = Path(__file__).with_name("load.py")
OTHER_FILES = 200

KILOBYTES = 38
"""The bound for a stream of the service. FastAPI and uvicorn take 24 of them for any answer."""

ANY_NUMBER = {"DUAL_MODE_STREAMS": "100000", "DUAL_MODE_CLIENT_STREAMS": "100000"}


@contextlib.contextmanager
def files_for(streams: int) -> Iterator[int]:
    """Allow this process and its children as many files as the system lets it; gives how many
    streams each may hold, at most those asked for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield streams if hard == resource.RLIM_INFINITY else min(streams, hard - OTHER_FILES)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def served(name: str, **variables: str) -> contextlib.AbstractContextManager[Service]:
    """A server of apps.py."""
    program = (sys.executable, "-m", "tests.storms.apps", name)
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return run_service(program=program, PYTHONPATH=path, **(ANY_NUMBER | variables))


class Load:
    """The readers of load.py; `open` is how many there are."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.open: int = self.answer()["open"]

    def tell(self, command: str) -> None:
        """Let it begin."""
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """What it says when it is done."""
        line = self._process.stdout.readline()
        assert line, "the load has ended"
        return json.loads(line)

    def ask(self, command: str) -> Any:
        """Both."""
        self.tell(command)
        return self.answer()


@contextlib.contextmanager
def load(url: str, path: str, many: int, *, buffer: int | None = None) -> Iterator[Load]:
    """So many readers, each with its first event."""
    arguments = [str(urlsplit(url).port), path, str(many)]
    process = subprocess.Popen(
        [sys.executable, str(LOAD), *arguments, *([] if buffer is None else [str(buffer)])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Load(process)
    finally:
        process.kill()
        process.communicate()


class Client:
    """What one hears of a server, on a new connection each time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._address = urlsplit(url).netloc

    def get(self, path: str) -> str:
        """The body of an answer, which has to be a success."""
        connection = http.client.HTTPConnection(self._address, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read().decode()
        assert answer.status == 200, body
        return body

    def witness(self) -> dict[str, int]:
        """What there is, see apps.py."""
        seen: dict[str, int] = json.loads(self.get("/witness"))
        return seen

    def gauge(self) -> int:
        """The number of open streams that Prometheus sees."""
        return open_streams(self._url) or 0


class Waits:
    """How long others wait for a small answer, all the while: `with Waits(url) as waits`."""

    def __init__(self, url: str) -> None:
        self._client = Client(url)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.seconds: list[float] = []

    def _ask(self) -> None:
        while not self._over.wait(0.01):
            began = time.perf_counter()
            self._client.get("/healthz")
            self.seconds.append(time.perf_counter() - began)

    def some_more(self, number: int = 50) -> None:
        """Wait until so many more have been served."""
        then = len(self.seconds)
        while len(self.seconds) < then + number:
            assert self._thread.is_alive(), "nobody is served"
            time.sleep(0.01)

    def __enter__(self) -> "Waits":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def share(self, of: float) -> float:
        """The wait that this share of all is not above, in milliseconds."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[math.ceil(of * len(ordered)) - 1]

    def __str__(self) -> str:
        return (
            f"others waited {self.share(0.5):.1f} ms at the median, {self.share(0.99):.1f} ms at "
            f"p99, {self.share(1):.1f} ms at most ({len(self.seconds)} of them)"
        )
