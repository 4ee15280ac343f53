"""deploy/dual-mode.service: systemd finds no fault in it, and its command serves and drains."""

import os
import re
import shlex
import shutil
import signal
import subprocess

import httpx
import pytest

from dual_mode_streaming.server.settings import Settings
from tests.conftest import DUAL_MODE, ROOT, not_available

UNIT = (ROOT / "deploy" / "dual-mode.service").read_text("utf-8")
INSTALLED = "/opt/dual-mode/bin/dual-mode"

EXPOSURE = 20
"""What it may be exposed, in tenths of systemd's own measure; 10.0 is all, 2.0 is `OK`."""


def told(name):
    return re.findall(rf"^{name}=(.+)$", UNIT, re.M)


@pytest.mark.parametrize("command", ["verify", f"security --offline=yes --threshold={EXPOSURE}"])
def test_systemd_finds_no_fault_in_it(tmp_path, command):
    program = shutil.which("systemd-analyze")
    if program is None:
        not_available("systemd-analyze", ci_has_it=False)
    assert INSTALLED in UNIT
    unit = tmp_path / "dual-mode.service"
    unit.write_text(UNIT.replace(INSTALLED, DUAL_MODE))
    done = subprocess.run(
        [program, *command.split(), str(unit)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Unknown" not in done.stderr, done.stderr


def test_its_times_fit_the_drain():
    (seconds,) = told("TimeoutStopSec")
    assert float(seconds) > 2 * Settings.model_construct().drain_timeout


@pytest.mark.full
def test_its_command_serves_and_drains_in_order(tmp_path):
    """As it stands there, with its environment; a free port, and a place of its own for `%S`."""
    (command,) = told("ExecStart")
    program, *arguments = shlex.split(command)
    assert program == INSTALLED
    variables = dict(
        text.replace("%S", str(tmp_path)).split("=", 1) for text in told("Environment")
    )
    (tmp_path / told("StateDirectory")[0]).mkdir()
    with subprocess.Popen(
        [DUAL_MODE, *arguments],
        env=os.environ | variables | {"DUAL_MODE_PORT": "0"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().removeprefix("Serving on ").strip()
            question = {"messages": "Hello"}
            with httpx.stream("POST", f"{url}/chat?stream=true", json=question, timeout=60) as chat:
                chunks = chat.iter_raw()
                assert next(chunks)
                (signal_of_the_end,) = told("KillSignal")
                process.send_signal(signal.Signals[signal_of_the_end])
                assert b"event: done" not in b"".join(chunks)  # cut, and in good order
            assert process.wait(float(told("TimeoutStopSec")[0])) == 0
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert (tmp_path / "dual-mode" / "streams.db").exists()
