"""What an editor sees: pyright reports the lines that mypy reports; each option has its text."""

import ast
import inspect
import itertools
import json
import subprocess

import pytest

from dual_mode_streaming import dual_mode
from tests.environments import environment

from .repository import PACKAGE, ROOT

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


def test_every_option_has_the_text_that_an_editor_shows_for_it():
    """Pyright shows the string below a key of `Options` where the option is given by name."""
    tree = ast.parse((PACKAGE / "web" / "_options.py").read_text("utf-8"))
    (options,) = [node for node in ast.walk(tree) if getattr(node, "name", None) == "Options"]
    for field, text in itertools.pairwise([*options.body, None]):
        if isinstance(field, ast.AnnAssign):
            assert isinstance(text, ast.Expr), ast.unparse(field.target)


def test_the_docstring_of_the_decorator_has_every_parameter():
    for name in inspect.signature(dual_mode).parameters:
        assert f"    {name}: " in inspect.getdoc(dual_mode)
