"""Environments of programs that are not in .venv, created when their pins change."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, not_available

UV = str(Path(sys.executable).with_name("uv"))


def environment(name: str, *pins: Path) -> Path:
    """Create or find an environment, and return its directory.

    Args:
        name: Its name, which is a part of the directory's.
        pins: `package.json` and its lock for Node, or requirement files for Python.
    """
    of_node = pins[0].name == "package.json"
    for program in ("node", "npm") if of_node else ():
        if shutil.which(program) is None:
            not_available(program)
    home = ROOT / f".venv-foreign-{name}"
    stamp = home / ".pins"
    parts = [sys.version.encode(), *(path.read_bytes() for path in pins)]
    digest = hashlib.sha256(b"".join(parts)).hexdigest()
    if not stamp.is_file() or stamp.read_text() != digest:
        shutil.rmtree(home, ignore_errors=True)
        (_make_with_npm if of_node else _make_with_uv)(home, pins)
        stamp.write_text(digest)
    return home


def variables_of(home: Path) -> dict[str, str]:
    """Return the variables for a program of an environment: our source is on its path."""
    path = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src")}
    return {**path, "HOME": str(home), "NO_PROXY": "*"}


def document_of(command: list[str | Path], home: Path) -> Any:
    """Run a program of an environment, and return the JSON that it prints."""
    done = subprocess.run(
        command, env=variables_of(home), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _make_with_uv(home: Path, pins: tuple[Path, ...]) -> None:
    python = ["--python", sys.executable]
    subprocess.run([UV, "venv", "--quiet", *python, str(home)], check=True)
    install = [UV, "pip", "install", "--quiet", "--python", str(home / "bin" / "python")]
    subprocess.run([*install, "-r", *map(str, pins)], check=True)


def _make_with_npm(home: Path, pins: tuple[Path, ...]) -> None:
    home.mkdir()
    for path in pins:
        shutil.copy(path, home)
    # `npm ci` would refuse a lock that lacks what is optional, and of another system.
    install = ["npm", "install", "--no-save", "--silent", "--no-audit", "--no-fund"]
    subprocess.run(install, cwd=home, check=True)
