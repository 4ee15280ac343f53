"""A real nginx by deploy/nginx.conf, of which only the ports and the places are others."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.conftest import ROOT, not_available
from tests.stores.redis_server import free_port

CONFIG = ROOT / "deploy" / "nginx.conf"
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])  # where Debian has it


class Nginx:
    """It listens on a port of its own, and has the workers of the two given ports behind it."""

    def __init__(self, folder: Path, first: int, second: int) -> None:
        self.log = folder / "log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        program = shutil.which("nginx", path=PATH) or not_available("nginx")
        text = CONFIG.read_text("utf-8")
        for told, meant in [
            (r"\blisten 8080;", f"listen 127.0.0.1:{self.port};"),
            (r"\bworker-1:8000\b", f"127.0.0.1:{first}"),
            (r"\bworker-2:8000\b", f"127.0.0.1:{second}"),
            (r" /tmp/", f" {folder}/"),
        ]:
            text, count = re.subn(told, meant, text)
            assert count, f"{told} is not in {CONFIG.name}"
        (folder / "nginx.conf").write_text(text)
        globally = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")
        command = [program, "-e", "stderr", "-c", str(folder / "nginx.conf"), "-g", globally]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def start(self) -> "Nginx":
        """Itself, when it can be connected to."""
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(self.log.read_text()) from None
                time.sleep(0.01)

    def signal(self, number: int) -> None:
        """Send it a signal, such as SIGQUIT, for an orderly end."""
        self._process.send_signal(number)

    def close(self) -> None:
        """End it at once, unless it has ended."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)
