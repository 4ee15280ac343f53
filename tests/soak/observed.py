"""A `dual-mode serve` in a process of its own that reports what is open in it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import httpx
import psutil

from tests.helpers.service import ROOT, open_streams

FLAGS = ("--port", "0", "--log-level", "error", "--heartbeat", "0.5", "--send-timeout", "2")
FAST = {
    "DUAL_MODE_LLM_FIRST": "0.02",
    "DUAL_MODE_LLM_RATE": "200",
    "DUAL_MODE_LLM_JITTER": "0.2",
}
SETTLED = 20


class ObservedService:
    """The service, on a store that other processes may use too."""

    def __init__(self, store: str) -> None:
        command = [sys.executable, "-m", "tests.soak.reporting", "serve", *FLAGS, "--store", store]
        self._store_port = httpx.URL(store).port
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | FAST
        )
        self._seen = psutil.Process(self._process.pid)
        self._asking = threading.Lock()
        self.blocks = 0
        line = self._line()
        assert line.startswith("Serving on "), "the service did not start"
        self.url = line.removeprefix("Serving on ")
        self.port = httpx.URL(self.url).port or 0
        httpx.get(f"{self.url}/healthz", timeout=20)  # its event loop runs: `open` may ask it

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    @property
    def is_up(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def memory(self) -> float:
        """The resident memory, in MB."""
        return float(self._seen.memory_info().rss) / 1e6

    def open(self) -> dict[str, int]:
        """Count what is open in it, without connections to the store, which are kept.

        It sets `blocks` to the number of memory blocks of its objects. `streams` comes from its
        `/metrics`, and is missing if they have no such gauge.
        """
        with self._asking:
            self._process.send_signal(signal.SIGUSR2)
            found: dict[str, int] = json.loads(self._line())
        self.blocks = found.pop("blocks")  # never twice the same, so nothing that must be
        peers = [c.raddr.port for c in self._seen.net_connections("tcp") if c.raddr]
        found["descriptors"] = self._seen.num_fds() - peers.count(self._store_port or 0)
        streams = open_streams(self.url)  # by a connection that came after the count
        if streams is not None:
            found["streams"] = streams
        return found

    def settled(self, as_before: dict[str, int] | None = None) -> dict[str, int]:
        """Wait until no more is open than before, or until nothing has changed for two seconds.

        Return what is open after at most `SETTLED` seconds.
        """
        deadline = time.monotonic() + SETTLED
        found, same = self.open(), 0
        while time.monotonic() < deadline:
            if as_before is None and same == 8:
                break
            if as_before is not None and all(found[name] <= as_before[name] for name in found):
                break
            time.sleep(0.25)
            last, found = found, self.open()
            same = same + 1 if found == last else 0
        return found

    def stop(self) -> int:
        """Stop it with SIGTERM and return its exit code."""
        self._process.terminate()
        try:
            return self._process.wait(20)
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill it, if it has not ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()
