"""Every exercise fails at its TODO, every solution passes, every known mistake is caught."""

import ast
import gc
import re
import shutil
import subprocess
import sys

import pytest
from exercises.checks import __main__ as cli
from exercises.checks.task import STILL, examine, load

from tests.house.repository import ROOT, project_files

# A mistake leaves behind what it leaves behind: its warnings come here, and not in later tests.
pytestmark = pytest.mark.filterwarnings("ignore")

WRONG = sorted((cli.HERE / "wrong").glob("*.py"))
NAMES = pytest.mark.parametrize("name", cli.NAMES)


def checks_of(name):
    return load(cli.HERE / f"{name}.py")


def original_of(name):
    return cli.HERE / "originals" / f"{name}.py"


def solution_of(name):
    return cli.EXERCISES / "solutions" / f"{name}.py"


def words_of(wrong):
    """The aim and the found value that must catch a mistake, from its docstring."""
    text = ast.get_docstring(ast.parse(wrong.read_text("utf-8")))
    return re.search(r"Caught by: (.+)\nFound: (.+)", text).groups()


@NAMES
def test_unsolved_it_fails_at_its_todo(name):
    path, checks = original_of(name), checks_of(name)
    finding = examine(path, checks)
    assert finding is not None
    assert finding.found.startswith(STILL)
    assert "TODO" in path.read_text("utf-8").splitlines()[finding.line - 1]
    message = finding.message(cli.path_of(name), checks.READ, cli.number_of(name))
    for part in (f"exercises/{name}.py:{finding.line}", "expected", "found", "read", "make hint-"):
        assert part in message
    assert "Traceback" not in message


@NAMES
def test_what_is_in_the_repository_is_unsolved(name):
    """The file itself may be solved here, by whoever learns; what is committed must not be."""
    command = ["git", "show", f":exercises/{name}.py"]
    committed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    assert committed == original_of(name).read_bytes()


@NAMES
def test_the_solution_passes(name):
    assert examine(solution_of(name), checks_of(name)) is None
    solution, original = (p.read_text("utf-8") for p in (solution_of(name), original_of(name)))
    assert "TODO" not in solution
    assert ast.get_docstring(ast.parse(solution)) == ast.get_docstring(ast.parse(original))


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_a_plausible_mistake_is_caught_with_its_own_message(path):
    name = next(name for name in cli.NAMES if path.stem.startswith(name))
    aim, found = words_of(path)
    finding = examine(path, checks_of(name))
    assert finding is not None, "the mistake passes"
    assert finding.aim == aim
    assert found in finding.found
    assert STILL not in finding.found
    gc.collect()


@NAMES
def test_what_it_points_at_is_there(name):
    checks = checks_of(name)
    pages = re.findall(r"[\w/]+\.(?:md|py)", checks.READ + original_of(name).read_text("utf-8"))
    assert pages
    assert [page for page in pages if not (ROOT / page).exists()] == []
    assert len(checks.HINTS) == 3
    assert any(path.stem.startswith(name) for path in WRONG)


def test_nothing_is_missing_or_stray():
    numbers = [cli.number_of(name) for name in cli.NAMES]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 8
    machinery = {"README.md", "checks/__init__.py", "checks/__main__.py", "checks/task.py"}
    folders = ("", "solutions/", "checks/", "checks/originals/")
    known = machinery | {f"{folder}{name}.py" for folder in folders for name in cli.NAMES}
    known |= {f"checks/wrong/{path.name}" for path in WRONG}
    there = {path for path in project_files() if path.is_relative_to(cli.EXERCISES)}
    assert {path.relative_to(cli.EXERCISES).as_posix() for path in there} == known
    assert all(any(path.stem.startswith(name) for name in cli.NAMES) for path in WRONG)
    assert len({words_of(path) for path in WRONG}) == len(WRONG), "two share their message"


@pytest.fixture
def learner(tmp_path):
    """The original exercises in a folder, and a function that runs the commands."""
    exercises = tmp_path / "exercises"
    shutil.copytree(cli.EXERCISES, exercises, ignore=shutil.ignore_patterns("__pycache__"))
    for name in cli.NAMES:
        shutil.copyfile(original_of(name), exercises / f"{name}.py")

    def give(*arguments):
        command = [sys.executable, "-m", "exercises.checks", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
        assert "Traceback" not in done.stdout + done.stderr
        return done.returncode, done.stdout

    give.folder = exercises
    return give


def test_the_way_through_an_exercise(learner):
    name = cli.NAMES[0]
    mine = learner.folder / f"{name}.py"

    code, said = learner("check", "1")
    assert code == 1
    assert f"exercises/{name}.py:27" in said
    shutil.copyfile(solution_of(name), mine)
    code, said = learner("check", "01")
    assert code == 0
    assert f"exercises/{name}.py is solved" in said

    code, said = learner("progress")
    assert code == 0
    assert f"1 of {len(cli.NAMES)} solved, next: {cli.NAMES[1]}" in said
    assert "[x] 1" in said
    assert "[ ] 2" in said

    mine.write_text(mine.read_text() + "# my own words\n")
    assert "-# my own words" in learner("solution", "1")[1]
    code, said = learner("reset", "1")
    assert code == 0
    assert mine.read_bytes() == original_of(name).read_bytes()
    assert "# my own words" in (learner.folder / f"{name}.py.mine").read_text()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("x = 1\ndef f(:\n", 2, "SyntaxError"),
        ("x = '\0'\n", 1, "null bytes"),
        ("\nimport no_such_module\n", 2, "No module named"),
        ("\n\nraise SystemExit(3)\n", 3, "SystemExit: 3"),
        ("x = 1\n", 1, "has no attribute 'app'"),
        ("", 1, "has no attribute 'app'"),
    ],
)
def test_whatever_is_in_the_file_is_answered_in_words(text, line, words, tmp_path):
    mine = tmp_path / f"{cli.NAMES[0]}.py"
    mine.write_text(text)
    finding = examine(mine, checks_of(cli.NAMES[0]))
    assert finding is not None
    assert words in finding.found
    assert finding.line == line


def test_neither_a_file_that_hangs_nor_one_that_is_gone_stops_the_check(learner):
    mine = learner.folder / f"{cli.NAMES[0]}.py"
    mine.write_text("x = 1\n\nwhile True:\n    pass\n")
    code, said = learner("check", "1", "--seconds", "2")
    assert code == 1
    assert f"exercises/{mine.name}:3\n" in said
    assert "still running" in said
    mine.unlink()
    code, said = learner("check", "1")
    assert code == 1
    assert "make reset-1" in said


def test_hints_come_by_degrees(capsys):
    assert cli.hint(cli.NAMES[0], 3) == 0
    whole = capsys.readouterr().out
    assert [f"{n}. {kind}" in whole for n, kind in enumerate(cli.KINDS, 1)] == [True] * 3
    assert cli.hint(cli.NAMES[0], 1) == 0
    first = capsys.readouterr().out
    assert whole.startswith(first)
    assert "2." not in first


def test_when_all_are_solved_it_says_so(capsys, monkeypatch):
    monkeypatch.setattr(cli, "solves", lambda *_, **__: True)
    assert cli.progress(1) == 0
    assert f"{len(cli.NAMES)} of {len(cli.NAMES)} solved" in capsys.readouterr().out
