"""Every command and program of the README runs here, except `make test`."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from dual_mode_streaming.testing import StreamingTransport, assert_done, collect_events
from tests.conftest import not_available

from .own_folder import CLEAN, run, served_by
from .repository import ROOT

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.M | re.S)
COMMANDS = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
INLINE = re.findall(r"`((?:make|dual-mode) [^`]+)`", README)
ROOT_NAME = "dual-mode-streaming"  # the folder of a clone
ADDRESS = "http://127.0.0.1:8000"
PROGRAM = next(text for kind, text in BLOCKS if kind == "python")
OWN = "/squares"  # the path of that program


async def test_the_first_program_is_short_and_answers_in_both_modes(tmp_path, monkeypatch):
    assert len([line for line in PROGRAM.splitlines() if line.strip()]) <= 10
    (tmp_path / "first_program.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(tmp_path)
    import first_program  # type: ignore[import-not-found]

    transport = StreamingTransport(first_program.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/squares")).json() == {"data": [0, 1, 4]}
        async with client.stream("GET", "/squares?count=2&stream=true") as answer:
            assert assert_done(await collect_events(answer)) == [0, 1]


@pytest.fixture(scope="module")
def served():
    """`make serve`, on a free port."""
    with subprocess.Popen(
        ["make", "serve"],
        cwd=ROOT,
        env=CLEAN | {"DUAL_MODE_PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            for line in process.stdout:
                if line.startswith("Serving on "):
                    break
            else:
                raise AssertionError("make serve did not start the service")
            yield line.removeprefix("Serving on ").strip()
        finally:
            os.killpg(process.pid, signal.SIGTERM)


@pytest.fixture(scope="module")
def own_project(tmp_path_factory):
    """A new folder beside a clone: install the package there, and serve the first program."""
    parent = tmp_path_factory.mktemp("projects")
    (parent / ROOT_NAME).symlink_to(ROOT)
    folder = parent / "my-project"
    folder.mkdir()
    (folder / "app.py").write_text(PROGRAM)
    for command in COMMANDS:
        if command.startswith(("python3 -m venv ", ".venv/bin/pip ")):
            run(command, folder)
    (serve,) = [line for line in COMMANDS if "uvicorn app:app" in line]
    with served_by(serve, folder) as url:
        yield url


@pytest.mark.timeout(240)  # pip installs, over the network
@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("curl ")])
def test_its_requests_are_answered(command, request):
    if shutil.which("curl") is None:
        not_available("curl")
    assert ADDRESS in command
    served = request.getfixturevalue("own_project" if OWN in command else "served")
    command = command.replace(ADDRESS, served).replace("curl ", "curl -sSf ", 1)
    answer = subprocess.run(
        command, shell=True, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    if "event-stream" in command or "stream=true" in command:
        assert "event: done" in answer
    elif '"stream": true' in command:
        assert answer.endswith("data: [DONE]\n\n")
    elif "respond-async" in command:
        assert answer.startswith("HTTP/1.1 202 ")
        assert "\nlocation: /streams/" in answer
    else:
        assert answer.startswith("{")


def test_its_commands_for_channels_run(served):
    said = [
        run(command.replace(ADDRESS, served), ROOT)
        for command in COMMANDS
        if command.startswith(".venv/bin/dual-mode ")
    ]
    assert re.fullmatch(r"\d{16}_\d{16}\n", said[0])
    assert '{"state":"paid"}\n' in said[1]


@pytest.mark.parametrize("command", INLINE)
def test_its_inline_commands_run(command):
    program, *arguments = command.split()
    if program == "dual-mode":
        program = str(Path(sys.executable).with_name(program))
    answer = subprocess.run(
        [program, *arguments], cwd=ROOT, env=CLEAN, capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout


def test_it_has_no_other_command():
    blocks = [text for kind, text in BLOCKS if kind == "sh"]
    assert "make serve\n" in blocks
    assert "make test\n" in blocks
    known = ("curl ", "python3 -m venv ", ".venv/bin/pip ", ".venv/bin/uvicorn ", "make ")
    known += (".venv/bin/dual-mode ",)
    assert [line for line in COMMANDS if not line.startswith(known)] == []
    assert [line for line in COMMANDS if line.startswith("make ")] == ["make serve", "make test"]


@pytest.mark.parametrize("name", ["README.md", "CLAUDE.md"])
def test_the_files_it_names_exist(name):
    text = (ROOT / name).read_text("utf-8")
    targets = re.findall(r"^([a-z-]+)%?:.*##", (ROOT / "Makefile").read_text("utf-8"), re.M)
    mentioned = set(re.findall(r"`make ([a-z-]+)", text)) | set(
        re.findall(r"^make (\S+)", text, re.M)
    )
    assert mentioned <= set(targets)
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    places = re.findall(r"`((?:src|tests|scripts|docs)/[\w./]*)", text)
    assert [place for place in [*links, *places] if not (ROOT / place).exists()] == []
