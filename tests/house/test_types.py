"""The second type checker: pyright reports the lines of `tests/typing` that mypy reports."""

import json
import subprocess

import pytest

from tests.environments import environment

from .repository import ROOT

TYPING = ROOT / "tests" / "typing"


@pytest.mark.full
@pytest.mark.timeout(600)
def test_pyright_reports_what_mypy_reports(tmp_path):
    """`make lint` runs mypy. Pyright brings a Node of 280 MB: it has an environment of its own."""
    home = environment("pyright", TYPING / "pyright.txt")
    options = {
        "include": [str(TYPING)],
        "typeCheckingMode": "standard",
        "venvPath": str(ROOT),
        "venv": ".venv",
        "enableTypeIgnoreComments": False,
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(options))
    ran = subprocess.run(
        [home / "bin" / "basedpyright", "--outputjson", "-p", tmp_path],
        stdout=subprocess.PIPE,
        check=False,
    )
    reported = {
        (diagnostic["file"], diagnostic["range"]["start"]["line"] + 1): diagnostic["message"]
        for diagnostic in json.loads(ran.stdout)["generalDiagnostics"]
        if diagnostic["severity"] == "error"
    }
    expected = {
        (str(path), number)
        for path in TYPING.glob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if "# type: ignore" in line
    }
    assert not {place: reported[place] for place in reported.keys() - expected}
    assert not expected - reported.keys()
