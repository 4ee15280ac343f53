"""Every example runs, prints what its golden text has, and is built as a beginner expects it."""

import ast
import logging
import shutil
import subprocess
import sys

import pytest
from examples import run

from tests.conftest import not_available
from tests.house.repository import project_files

EXAMPLES = pytest.mark.parametrize("path", run.EXAMPLES, ids=lambda path: path.stem)
WITH_NPM = ("13_", "14_")  # npm installs their packages first
RUN = pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=[pytest.mark.full, pytest.mark.timeout(600)])
        if path.name.startswith(WITH_NPM)
        else path
        for path in run.EXAMPLES
    ],
    ids=lambda path: path.stem,
)


@pytest.fixture(autouse=True)
def _the_log_as_it_was():
    logger = logging.getLogger("dual_mode_streaming")
    level = logger.level
    yield
    logger.setLevel(level)


@RUN
def test_it_prints_what_it_is_known_to_print(path):
    if '"node"' in path.read_text("utf-8") and shutil.which("node") is None:
        not_available("node")
    assert run.output(path) == (run.GOLDEN / f"{path.stem}.txt").read_text("utf-8")


@EXAMPLES
def test_it_is_one_short_idea_told_in_full(path):
    text = path.read_text("utf-8")
    question, seen, following = run.parts(path)
    assert question.endswith("?")
    assert "\n" not in question
    assert seen
    assert following
    assert len(text.splitlines()) <= 60


@EXAMPLES
def test_it_imports_what_a_user_would(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level
            assert not any(name.name.startswith("_") for name in node.names)
            parts = (node.module or "").split(".")
            assert parts[0] not in {"examples", "tests"}
            if parts[0] == "dual_mode_streaming":
                public = {"streams", "bridges", "llm", "llm.wire", "testing", "client"}
                assert len(parts) == 1 or ".".join(parts[1:]) in public


def test_they_are_numbered_and_nothing_is_stray():
    numbers = [int(path.stem.split("_")[0]) for path in run.EXAMPLES]
    assert sorted(numbers) == list(range(1, 18))
    golden = {path.name for path in run.GOLDEN.iterdir()}
    assert golden == {f"{path.stem}.txt" for path in run.EXAMPLES}
    here = {path for path in project_files() if path.parent == run.HERE}
    assert here == {*run.EXAMPLES, run.HERE / "run.py", run.HERE / "README.md"}


def test_the_commands():
    def answer(*arguments):
        command = [sys.executable, str(run.HERE / "run.py"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout

    code, listed = answer("--list")
    assert code == 0
    assert all(run.parts(path)[0] in listed for path in run.EXAMPLES)
    assert answer("77")[0] == 1
    code, printed = answer("2")
    assert code == 0
    assert (run.GOLDEN / "02_mode_detection.txt").read_text("utf-8") in printed
    assert "Seen:" in printed
    assert "Try next:" in printed


def test_a_failure_is_no_success(tmp_path, capsys):
    broken = tmp_path / "01_broken.py"
    broken.write_text('"""Why?\n\nSeen: it.\n\nTry next: that.\n"""\nraise ValueError("no")\n')
    assert run.run(broken) is False
    assert "ValueError: no" in capsys.readouterr().out
