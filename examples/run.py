"""Run the examples: `run.py` runs all of them, `run.py 3` runs one, `run.py --list` lists them.

`run.py --write` writes the golden outputs, which the tests compare with what the examples print.
"""

import argparse
import contextlib
import hashlib
import io
import runpy
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
GOLDEN = HERE / "golden"
EXAMPLES = sorted(HERE.glob("[0-9][0-9]_*.py"))
FRONTENDS = HERE / "frontends"


def parts(path: Path) -> tuple[str, str, str]:
    """Return the three parts of the docstring: the question, "Seen" and "Try next"."""
    text = path.read_text("utf-8").split('"""')[1]
    question, rest = text.split("\n\nSeen: ")
    seen, following = rest.split("\n\nTry next: ")
    return question.strip(), seen.strip(), following.strip()


def title(path: Path) -> str:
    """Return the title of an example: "1  basic streaming" for `01_basic_streaming.py`."""
    number, _, name = path.stem.partition("_")
    return f"{int(number):2}  {name.replace('_', ' ')}"


def prepare(path: Path) -> None:
    """Install the pinned npm packages of an example, and build its page, if that was not done.

    Raises:
        RuntimeError: there is no npm, or no network for it.
    """
    if '"frontends"' not in path.read_text("utf-8"):
        return
    sources = sorted([*FRONTENDS.glob("*.json"), *FRONTENDS.glob("*.jsx")])
    digest = hashlib.sha256(b"".join(each.read_bytes() for each in sources)).hexdigest()
    stamp = FRONTENDS / "build" / "sources"
    if stamp.is_file() and stamp.read_text() == digest:
        return
    needs = f"{path.name} needs Node and npm: once, to install the packages of examples/frontends"
    if (npm := shutil.which("npm")) is None:
        raise RuntimeError(f"{needs}; there is no npm on this machine")
    print("(npm installs the packages of examples/frontends, once)", file=sys.stderr)
    for command in (["install", "--no-save", "--no-audit", "--no-fund"], ["run", "build"]):
        done = subprocess.run([npm, "--silent", *command], cwd=FRONTENDS, stdout=sys.stderr)
        if done.returncode:
            raise RuntimeError(f"{needs}; `npm {command[0]}` failed, see above")
    stamp.write_text(digest)


def listing(path: Path) -> None:
    print(f"{title(path)}\n      {parts(path)[0]}")


def run(path: Path) -> bool:
    """Run one example, and print its question before and its explanation after it."""
    question, seen, following = parts(path)
    print(f"{'-' * 100}\n{title(path)}\n\n{question}\n", flush=True)
    try:
        prepare(path)
        runpy.run_path(str(path), run_name="__main__")
    except Exception:
        traceback.print_exc(file=sys.stdout)
        return False
    print(f"\nSeen: {seen}\n\nTry next: {following}\n\nThe file: examples/{path.name}\n")
    return True


def output(path: Path) -> str:
    """Return what an example prints."""
    prepare(path)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        runpy.run_path(str(path), run_name="__main__")
    return printed.getvalue()


def write(path: Path) -> None:
    (GOLDEN / f"{path.stem}.txt").write_text(output(path), "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the examples.")
    parser.add_argument("number", nargs="?", help="the number of one example (default: all)")
    parser.add_argument("--list", action="store_true", help="list the examples")
    parser.add_argument("--write", action="store_true", help="write the golden outputs")
    chosen = parser.parse_args()
    paths = EXAMPLES
    if chosen.number is not None:
        paths = [path for path in paths if path.stem.split("_")[0] == chosen.number.zfill(2)]
        if not paths:
            print(f"there is no example {chosen.number}; `make examples-list` lists them")
            return 1
    if chosen.list or chosen.write:
        for path in paths:
            (listing if chosen.list else write)(path)
        return 0
    failed = [path.name for path in paths if not run(path)]
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
