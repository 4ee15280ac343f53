"""Run the commands of a page in a new folder, as its reader does."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import not_available

# make runs these very tests with settings of its own in the environment.
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("MAKE", "MFLAGS", "DUAL_MODE_", "PYTHON", "PYTEST", "VIRTUAL_ENV"))
}


def run(command: str, folder: Path) -> str:
    """Return what a command prints. `python3` is the Python that runs the tests."""
    command = re.sub(r"^python3 ", f"{sys.executable} ", command)
    done = subprocess.run(
        command, shell=True, cwd=folder, env=CLEAN, capture_output=True, text=True, timeout=200
    )
    if "pip install" in command and "No matching distribution found" in done.stderr:
        not_available("a-package-index")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def served_by(command: str, folder: Path) -> Iterator[str]:
    """Run a uvicorn command on a free port; yield the address of the app."""
    assert "uvicorn " in command
    with subprocess.Popen(
        f"exec {command} --port 0",
        shell=True,
        cwd=folder,
        env=CLEAN,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            printed = ""
            for line in process.stderr:
                printed += line
                if found := re.search(r"running on (\S+)", line):
                    yield found[1]
                    break
            else:
                raise AssertionError(printed)
        finally:
            process.terminate()
            process.communicate(timeout=60)
