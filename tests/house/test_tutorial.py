"""Follow the tutorial: write its files, run its commands, compare what they print."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import not_available

from .repository import ROOT

PAGE = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
BLOCKS = re.findall(r'^```(\w+)(?: title="([^"\n]+)")?\n(.*?)^```', PAGE, re.M | re.S)

# A file that is written twice within a second is compiled again, and pytest does not load plugins
# that it does not need here.
QUICK = {
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTEST_ADDOPTS": "-p no:schemathesis -p no:hypothesispytest -p no:cacheprovider",
}


class Reader:
    """A reader with two terminals, in a clone of the repository."""

    def __init__(self, here: Path) -> None:
        self.here = here
        here.mkdir()
        (here / ".venv").symlink_to(sys.prefix)
        for name in ("pyproject.toml", "README.md", "LICENSE", "src"):  # what pip installs
            (here / name).symlink_to(ROOT / name)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.serve = ""
        self.server: subprocess.Popen[str] | None = None
        self.printed = ""

    def write(self, name: str, text: str) -> None:
        twice_as_fast = re.sub(r"sleep\((0\.\d)\)", r"sleep(\1 / 2)", text)
        (self.here / name).write_text(twice_as_fast)
        self.stop()  # faster than waiting for `--reload`

    def run(self, command: str) -> None:
        if command.startswith("cd "):
            self.stop()
            self.here = (self.here / command.removeprefix("cd ")).resolve()
            return
        if command.startswith(".venv/bin/uvicorn "):
            assert command.endswith(":app --reload")
            self.serve = f"exec {command.removesuffix('--reload')} --port {self.port}"
            return
        if command.startswith("curl"):
            self.start()
            assert "http://127.0.0.1:8000/" in command
            command = command.replace("curl ", "curl -sS ", 1).replace(":8000/", f":{self.port}/")
        command = re.sub(r"^python3 ", f"{sys.executable} ", command)
        done = subprocess.run(
            command,
            shell=True,
            cwd=self.here,
            env=os.environ | QUICK,
            capture_output=True,
            text=True,
            timeout=200 if "pip install" in command else 100,
        )
        if "pip install" in command and "No matching distribution found" in done.stderr:
            not_available("a-package-index")
        if "--max-time" in command:
            assert done.returncode == 28
            assert self.server is not None
            assert self.server.stdout is not None
            self.printed = ""  # of the other terminal, where two earlier answers have ended
            while self.printed.count("the stove is off") < 3:
                self.printed += self.server.stdout.readline()
        else:
            assert done.returncode == 0, done.stdout + done.stderr
            self.printed = done.stdout

    def start(self) -> None:
        if self.server is None:
            self.server = subprocess.Popen(
                self.serve,
                shell=True,
                cwd=self.here,
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ | QUICK,
            )
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    socket.create_connection(("127.0.0.1", self.port)).close()
                    return
                except ConnectionRefusedError:
                    assert self.server.poll() is None
                    time.sleep(0.02)
            raise AssertionError("the service did not start")

    def stop(self) -> str:
        """Stop the service, and return what it has printed."""
        if self.server is None:
            return ""
        self.server.terminate()
        printed, _ = self.server.communicate(timeout=60)
        self.server = None
        return printed


def as_pattern(text: str) -> str:
    """Return a pattern for an output on the page: `…` is anything, and ids vary."""
    text = re.sub(r"9b4d1c2ab7", "ID", text.strip())
    return re.escape(text).replace("…", ".*").replace("ID", "[0-9a-f]{10}")


@pytest.mark.timeout(240)  # pip installs, over the network
def test_the_tutorial_does_what_it_says(tmp_path):
    reader = Reader(tmp_path / "dual-mode-streaming")
    try:
        for kind, name, text in BLOCKS:
            if name:
                reader.write(name, text)
            elif kind == "sh":
                if text != "make setup\n":  # done before the tests
                    for command in text.splitlines():
                        reader.run(command)
            else:
                assert kind == "text"
                wanted = as_pattern(text)
                found = reader.printed.replace("\r\n", "\n")
                assert re.search(wanted, found, re.S), f"{text}\n--- but it was:\n{found}"
    finally:
        reader.stop()


@pytest.mark.parametrize("name", ["my_stream.py", "test_my_stream.py"])
def test_git_ignores_the_files_of_the_reader(name):
    assert f"/{name}" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert f'title="{name}"' in PAGE
