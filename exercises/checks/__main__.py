"""The commands behind `make exercises`, `make exercise-1`, `make hint-1` and so on."""

import argparse
import difflib
import logging
import os
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .task import Finding, examine, load

HERE = Path(__file__).resolve().parent
EXERCISES = HERE.parent
NAMES = sorted(path.stem for path in HERE.glob("[0-9][0-9]_*.py"))
SECONDS = 20.0


def number_of(name: str) -> int:
    return int(name[:2])


def path_of(name: str) -> str:
    return f"exercises/{name}.py"


def progress(seconds: float) -> int:
    """Print which exercises are solved, and which is next."""
    with ThreadPoolExecutor(4) as pool:
        solved = list(pool.map(lambda name: solves(name, seconds, quiet=True), NAMES))
    for name, done in zip(NAMES, solved, strict=True):
        print(f"  [{'x' if done else ' '}] {number_of(name)}  {name[3:].replace('_', ' ')}")
    head = f"\n{sum(solved)} of {len(NAMES)} solved"
    if all(solved):
        print(f"{head}. Well done.")
        return 0
    name = NAMES[solved.index(False)]
    number = number_of(name)
    print(f"{head}, next: {name}\n")
    print(f"  Open {path_of(name)} and read its task. Then:")
    print(f"  make exercise-{number}   checks it, and says what is missing")
    print(f"  make hint-{number}       shows three hints; each says more than the previous one")
    return 0


def solves(name: str, seconds: float, quiet: bool = False) -> bool:
    """Check one exercise in a separate process, which may hang without blocking this one."""
    command = [sys.executable, "-m", "exercises.checks", "inner", str(number_of(name))]
    try:
        return not subprocess.run(
            command, cwd=EXERCISES.parent, capture_output=quiet, timeout=seconds
        ).returncode
    except subprocess.TimeoutExpired:
        if not quiet:
            print(_message(name, _timed_out(name, seconds)))
        return False


def _timed_out(name: str, seconds: float) -> Finding:
    found = f"still running after {seconds:g} s; is there a loop that never ends and never waits?"
    lines = (EXERCISES / f"{name}.py").read_text("utf-8", "replace").splitlines()
    line = next((n for n, text in enumerate(lines, 1) if "while True" in text), 1)
    return Finding("the check ends", f"an end within {seconds:g} s", found, line)


def inner(name: str) -> int:
    """Check one exercise in this process."""
    warnings.simplefilter("ignore")
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    path = EXERCISES / f"{name}.py"
    if not path.exists():
        print(f"{path_of(name)} does not exist; make reset-{number_of(name)} creates it again.")
        return 1
    finding = examine(path, load(HERE / f"{name}.py"))
    print(f"{path_of(name)} is solved." if finding is None else _message(name, finding))
    sys.stdout.flush()
    sys.stderr.flush()
    return 0 if finding is None else 1


def _message(name: str, finding: Finding) -> str:
    read = load(HERE / f"{name}.py").READ
    return "\n" + finding.message(path_of(name), read, number_of(name)) + "\n"


def check(name: str, seconds: float) -> int:
    """Check one exercise, and print which command comes next."""
    solved = solves(name, seconds)
    if solved:
        print(
            "make exercises shows the next one; make solution-N compares yours with the solution."
        )
    return 0 if solved else 1


def hint(name: str, upto: int) -> int:
    """Print the hints, beginning with the one that says least."""
    hints = load(HERE / f"{name}.py").HINTS
    for number, (kind, text) in enumerate(zip(KINDS, hints, strict=True), 1):
        if number <= upto:
            print(f"{number}. {kind}\n")
            print("\n".join(f"   {line}".rstrip() for line in text.strip().splitlines()) + "\n")
    return 0


KINDS = ("The idea", "What to use", "The beginning of the code")


def solution(name: str) -> int:
    """Print the difference between the file and the solution."""
    path, ours = EXERCISES / f"{name}.py", EXERCISES / "solutions" / f"{name}.py"
    mine = path.read_text("utf-8").splitlines() if path.exists() else []
    diff = difflib.unified_diff(
        mine,
        ours.read_text("utf-8").splitlines(),
        path_of(name),
        f"exercises/solutions/{ours.name}",
        lineterm="",
    )
    print("\n".join(diff) or f"{path_of(name)} is the same as the solution.")
    return 0


def reset(name: str) -> int:
    """Restore the original exercise, and keep a changed file beside it."""
    path, original = EXERCISES / f"{name}.py", HERE / "originals" / f"{name}.py"
    if path.exists() and path.read_bytes() != original.read_bytes():
        kept = path.with_suffix(".py.mine")
        shutil.copyfile(path, kept)
        print(f"Your version is kept in exercises/{kept.name}.")
    shutil.copyfile(original, path)
    print(f"{path_of(name)} is the original again.")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="exercises", description="Check the exercises.")
    commands = ("progress", "check", "hint", "solution", "reset", "inner")
    parser.add_argument("command", choices=commands)
    parser.add_argument("number", nargs="?", help="the number of the exercise")
    parser.add_argument("--upto", type=int, default=3, help="the number of hints")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="the time limit of a check")
    given = parser.parse_args()
    if given.command == "progress":
        return progress(given.seconds)
    names = [name for name in NAMES if given.number and name[:2] == given.number.zfill(2)]
    if not names:
        print(f"there is no exercise {given.number}; the numbers are 1 to {len(NAMES)}")
        return 1
    if given.command == "check":
        return check(names[0], given.seconds)
    if given.command == "hint":
        return hint(names[0], given.upto)
    if given.command == "inner":
        code = inner(names[0])
        os._exit(code)  # threads that an exercise left may still run
    return {"solution": solution, "reset": reset}[given.command](names[0])


if __name__ == "__main__":
    sys.exit(main())
