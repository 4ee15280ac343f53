"""`dual-mode serve` as a process of its own on a free port, stopped by the one who started it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psutil

COMMAND = (sys.executable, "-m", "dual_mode_streaming.cli")


def environment(**variables: str) -> dict[str, str]:
    """This process' environment without the settings that it may have, and with those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DUAL_MODE_")}
    return kept | variables


class Service:
    """A running process: its output so far, its address, its end."""

    def __init__(self, command: tuple[str, ...], variables: dict[str, str]) -> None:
        self.lines: list[str] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(**variables),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = self.until("Serving on ").removeprefix("Serving on ")

    def _read(self) -> None:
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self.lines.append("(end of the output)")
            self._news.notify_all()

    def until(self, text: str, count: int = 1, seconds: float = 20) -> str:
        """The `count`-th line with `text`, as soon as there is one."""

        def found() -> list[str]:
            return [line for line in self.lines if text in line]

        with self._news:
            self._news.wait_for(
                lambda: len(found()) >= count or "(end of the output)" in self.lines, seconds
            )
            assert len(found()) >= count, f"no {text!r} in:\n" + "\n".join(self.lines)
            return found()[count - 1]

    @property
    def port(self) -> int:
        return httpx.URL(self.url).port

    @property
    def memory(self) -> int:
        """Bytes of memory that the process has of its own."""
        return psutil.Process(self.process.pid).memory_info().rss

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Ask for the end; gives the exit code and the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(30)
        return code, time.monotonic() - began

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        self.process.stdout.close()


@contextmanager
def serving(*flags: str, **variables: str) -> Iterator[Service]:
    """The service with the given flags and variables, on a free port unless they name one."""
    port = () if "--port" in flags or "DUAL_MODE_PORT" in variables else ("--port", "0")
    service = Service((*COMMAND, "serve", *port, *flags), variables)
    try:
        yield service
    finally:
        service.close()
