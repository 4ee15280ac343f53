"""`dual-mode serve`, or a program that starts in the same way, as a process of its own."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).parent.parent.parent
DUAL_MODE = str(Path(sys.executable).with_name("dual-mode"))
_OPEN_STREAMS = re.compile(r"^dual_mode_streams_open(?:\{[^}]*\})? (\S+)$", re.M)


class Service:
    """A running service; `log` has its newest lines."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url
        self.log: deque[str] = deque(maxlen=10_000)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal, wait, and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)

    def memory(self) -> int:
        """The resident memory, in bytes."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def open_streams(self) -> int | None:
        """The number of open streams by `/metrics`; None if it is not there."""
        return open_streams(self.url)


def open_streams(url: str) -> int | None:
    """The number of open streams that the service's `/metrics` reports; None if it does not."""
    with httpx.Client(timeout=60) as http:  # a connection of its own, closed afterwards
        found = _OPEN_STREAMS.findall(http.get(f"{url}/metrics").text)
    return round(sum(map(float, found))) if found else None


@contextlib.contextmanager
def run_service(
    *flags: str, program: Sequence[str] = (DUAL_MODE, "serve", "--port", "0"), **variables: str
) -> Iterator[Service]:
    """Start a service, wait until it says where it serves, and kill it at the end.

    Args:
        flags: More arguments of the program.
        program: The command. It prints `Serving on URL` when it accepts connections.
        variables: More variables of its environment.
    """
    process = subprocess.Popen(
        [*program, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | variables,
        start_new_session=True,
    )
    reading = None
    try:
        for line in process.stdout:
            if line.startswith("Serving on "):
                break
        else:
            raise AssertionError("the service did not start")
        # Its output is read all the time: it would stop when the pipe is full.
        running = Service(process, line.removeprefix("Serving on ").strip())
        reading = threading.Thread(target=running.log.extend, args=(process.stdout,))
        reading.start()
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if reading is not None:
            reading.join()
        process.stdout.close()
