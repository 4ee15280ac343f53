"""genai-processors' own processors run on our streams. Its package has no tests of its own."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.environments import environment

HERE = Path(__file__).parent
SCRIPT = HERE / "genai_processors_on_ours.py"


@pytest.mark.full
@pytest.mark.timeout(300)
def test_its_processors_run_on_our_streams():
    home = environment("genai-processors", HERE / "genai-processors.txt")
    done = subprocess.run(
        [home / "bin" / "python", SCRIPT],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    checks = re.findall(r"^def check_(\w+)", SCRIPT.read_text("utf-8"), re.M)
    assert done.stdout.split() == checks
