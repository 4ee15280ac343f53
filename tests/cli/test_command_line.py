"""`dual-mode` itself: quick to start, its completion, and the commands of docs/cli.md."""

import math
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import DUAL_MODE, ROOT

from .conftest import PLAIN

COMMANDS = ("serve", "chat", "stream", "get", "publish", "watch")
COMMANDS += ("bench", "doctor", "record", "openapi", "ui")


def test_help_lists_the_commands():
    told = subprocess.run([DUAL_MODE, "--help"], capture_output=True, text=True).stdout
    for command in COMMANDS:
        assert f" {command} " in told


@pytest.mark.full
def test_help_takes_less_than_half_a_second_of_the_processor():
    took = [math.inf]
    while len(took) < 8 and min(took) >= 0.5:  # of the processor, which others may be busy with
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([DUAL_MODE, "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(took) < 0.5


def test_nothing_heavy_is_loaded_before_a_command_runs():
    heavy = "{'fastapi', 'pydantic', 'httpx', 'starlette', 'uvicorn'}"
    script = f"import sys, dual_mode_streaming.cli; print(*({heavy} & sys.modules.keys()))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert answer.stdout.strip() == ""


@pytest.mark.parametrize(
    ("words", "count", "offered"),
    [
        ("dual-mode ", 1, {*COMMANDS}),
        ("dual-mode bench --mode ", 3, {"stream", "lines", "batch"}),
    ],
)
def test_the_shell_completes(words, count, offered):
    completing = {"_DUAL_MODE_COMPLETE": "complete_bash", "COMP_WORDS": words}
    answer = subprocess.run(
        [DUAL_MODE],
        env=PLAIN | completing | {"COMP_CWORD": str(count)},
        capture_output=True,
        text=True,
    )
    assert set(answer.stdout.split()) == offered


PAGE = (ROOT / "docs" / "cli.md").read_text("utf-8")
RECORDED = re.findall(
    r"^\$ (.+)\n((?:(?!\$ ).*\n)*)",
    "".join(re.findall(r"^```console\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)),
    re.MULTILINE,
)
ADDRESS = "http://127.0.0.1:8000"


def comparable(text):
    """Without what differs each time: ids, durations, and how wide a column of them is."""
    text = re.sub(r"[0-9a-f]{10,}(?=\.)|\d{16}_(?=\d{16})", "ID", text)
    return re.sub(r"\d+\.\d+", "0.0", re.sub(r"[ ]+", " ", text))


def without_figures(text):
    return re.sub(r"[\d.]+", "0", comparable(text))


def test_the_page_records_every_command():
    for command in ("chat", "stream", "get", "publish", "watch", "openapi", "bench", "doctor"):
        assert any(f"dual-mode {command}" in line for line, _ in RECORDED)


@pytest.mark.parametrize(("command", "recorded"), RECORDED)
def test_what_the_page_records_is_so(quick, tmp_path, command, recorded):
    path = f"{Path(DUAL_MODE).parent}{os.pathsep}{os.environ['PATH']}"
    told = subprocess.run(
        ["bash", "-c", command.replace(ADDRESS, quick)],
        cwd=tmp_path,
        env=PLAIN | {"PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ).stdout.replace(quick, ADDRESS)
    same = without_figures if "bench" in command or "doctor" in command else comparable
    assert same(told) == same(recorded)
