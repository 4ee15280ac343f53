"""Decorators of other libraries above and below ours, with the real packages."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.environments import environment

HERE = Path(__file__).parent


@pytest.mark.full
@pytest.mark.timeout(300)  # the environment is to be made first
def test_endpoints_that_others_decorate_too():
    home = environment("decorators", HERE / "decorators.txt")
    done = subprocess.run(
        [home / "bin" / "python", HERE / "decorated.py"],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    recorded = seen.pop("/recorded")
    assert recorded[:2] == [{"data": ["u2"]}, 200]
    assert seen == {
        "/view": [{"data": ["u2"]}, 200, ["n", "stream", "tenant"]],
        "/limited-above": [{"data": [1]}, 429, ["stream"]],
        "/limited-below": [{"data": [1]}, 429, ["stream"]],
        "/relayed": [{"data": [2]}, 200, ["n", "stream"]],
        "/awaited": [{"data": [2]}, 200, ["n", "stream"]],
    }
