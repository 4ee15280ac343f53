"""The cells and the script of docs/elsewhere.md, run by a real kernel and by python; and that every
snippet of that page is run here."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.environments import environment

from .conftest import FENCES, PAGE, snippet

HERE = Path(__file__).parent
CELLS = ["a cell", "a plain cell", "a cell with a generator of its own"]

# A real notebook by a real kernel; prints what each cell printed.
RUN_CELLS = """
import json, sys
import nbclient, nbformat.v4 as v4
book = v4.new_notebook(cells=[v4.new_code_cell(text) for text in json.loads(sys.stdin.read())])
nbclient.NotebookClient(book, timeout=60, kernel_name="python3").execute()
print(json.dumps([[part["text"] for part in cell.outputs] for cell in book.cells]))
"""


def test_every_snippet_is_run():
    here = "".join(path.read_text("utf-8") for path in HERE.glob("test_*.py"))
    assert [title for title in FENCES if f'"{title}"' not in here] == []
    assert re.findall(r"^```\w+$", PAGE, re.M) == ["```sh"]  # that one is the README's, too
    assert PAGE.count("\n```sh\n" + curl()) == 1


def curl():
    (line,) = re.findall(r"^curl .*\n", PAGE, re.M)
    assert line in (ROOT / "README.md").read_text("utf-8")
    return line


def messages(printed):
    return re.findall(r"^(?:[0-9a-f]+\.\d+ )?(.+)$", printed, re.M)


ITEMS = [f"Item {n} of 3" for n in (1, 2, 3)]


def test_the_script(service):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", snippet("script.py", service)],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert messages(done.stdout) == ITEMS, done.stderr


@pytest.mark.full
@pytest.mark.timeout(300)  # the environment is to be made first
def test_the_cells_of_a_notebook(service):
    home = environment("jupyter", HERE / "jupyter.txt")
    cells = [snippet(title, service) for title in CELLS]
    done = subprocess.run(
        [home / "bin" / "python", "-c", RUN_CELLS],
        input=json.dumps(cells),
        env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    one, two, three = ["".join(parts) for parts in json.loads(done.stdout.splitlines()[-1])]
    assert messages(one) == messages(two) == ITEMS
    assert three.split() == ["to", "be", "or", "not"]
