"""deploy/Dockerfile, read; and followed without Docker, in a folder that stands for the image."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.conftest import ROOT

FILE = ROOT / "deploy" / "Dockerfile"
IGNORED = ROOT / ".dockerignore"


def instructions() -> list[tuple[str, str]]:
    """Its instructions in order, a name and the rest each."""
    text = re.sub(r"^\s*#.*\n", "", FILE.read_text("utf-8"), flags=re.M)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines if line.strip()]


def last(name: str) -> str:
    """The rest of the last instruction of that name: the one that holds."""
    return [rest for given, rest in instructions() if given == name][-1]


def variables() -> dict[str, str]:
    """What `ENV` sets."""
    return dict(pair.split("=", 1) for pair in last("ENV").split())


def health_check() -> list[str]:
    """The command of the health check, in the exec form."""
    command: list[str] = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    return command


def copied() -> list[tuple[list[str], str]]:
    """What is copied from the repository, and where to."""
    found = []
    for name, rest in instructions():
        if name == "COPY" and "--from" not in rest:
            *sources, target = rest.split()
            found.append((sources, target))
    return found


def build(image: Path, path: str) -> None:
    """Do what the first stage does, below the folder `image`, with the programs of `path`.

    Raises CalledProcessError if a command fails.
    """
    stages = 0
    here = image
    for name, rest in instructions():
        if name == "FROM":
            if (stages := stages + 1) == 2:
                return
        elif name == "WORKDIR":
            here = image / rest.lstrip("/")
            here.mkdir(parents=True)
        elif name == "COPY":
            *sources, target = rest.split()
            for source in sources:
                _copy(ROOT / source, here / target)
        elif name == "RUN":
            command = re.sub(r"(?<= )/(?=[a-z])", f"{image}/", rest)
            subprocess.run(["/bin/sh", "-c", command], cwd=here, env=_environment(path), check=True)
        else:
            raise AssertionError(f"{name} is not known here")


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True)
    else:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def _environment(path: str) -> dict[str, str]:
    """That of a shell which finds these programs, and can reach what pip can."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("VIRTUAL_ENV", "PYTHON"))}
    return kept | {"PATH": path}
