"""The environments of the foreign clients: made once, and again when their pins have changed."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, not_available

HERE = Path(__file__).parent
UV = str(Path(sys.executable).with_name("uv"))


def command_of(client: str) -> tuple[list[str], Path]:
    """What runs a client's program, and the directory of its environment."""
    home = ROOT / f".venv-foreign-{client}"
    if client == "vercel":
        for program in ("node", "npm"):
            if shutil.which(program) is None:
                not_available(program)
        pins, make = [HERE / "package.json", HERE / "package-lock.json"], _make_with_npm
        command = ["node", str(home / f"ask_{client}.mjs")]
    else:
        pins, make = [HERE / f"{client}.txt"], _make_with_uv
        command = [str(home / "bin" / "python"), str(HERE / f"ask_{client}.py")]

    stamp = home / ".pins"
    parts = [sys.version.encode(), *(path.read_bytes() for path in pins)]
    digest = hashlib.sha256(b"".join(parts)).hexdigest()
    if not stamp.is_file() or stamp.read_text() != digest:
        shutil.rmtree(home, ignore_errors=True)
        make(home, pins)
        stamp.write_text(digest)
    if client == "vercel":  # node looks for packages above the program
        shutil.copy(HERE / f"ask_{client}.mjs", home)
    return command, home


def _make_with_uv(home: Path, pins: list[Path]) -> None:
    python = ["--python", sys.executable]
    subprocess.run([UV, "venv", "--quiet", *python, str(home)], check=True)
    install = [UV, "pip", "install", "--quiet", "--python", str(home / "bin" / "python")]
    subprocess.run([*install, "-r", *map(str, pins)], check=True)


def _make_with_npm(home: Path, pins: list[Path]) -> None:
    home.mkdir()
    for path in pins:
        shutil.copy(path, home)
    install = ["npm", "ci", "--silent", "--no-audit", "--no-fund"]
    subprocess.run(install, cwd=home, check=True)
