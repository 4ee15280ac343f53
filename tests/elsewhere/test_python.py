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

# Interrupts each cell once it has printed; prints how it ended, and what the one after it printed.
INTERRUPT_CELLS = """
import json, sys
from jupyter_client.manager import start_new_kernel
manager, kernel = start_new_kernel()

def run(code, interrupt):
    asked, seen = kernel.execute(code), []
    while True:
        message = kernel.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") != asked:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            seen.append(content["text"].strip())
            if interrupt:
                manager.interrupt_kernel()
        elif kind == "error":
            seen.append(content["ename"])
        elif kind == "status" and content["execution_state"] == "idle":
            return seen

told = [run(cell, number % 2 == 0) for number, cell in enumerate(json.loads(sys.stdin.read()))]
kernel.stop_channels()
manager.shutdown_kernel(now=True)
print(json.dumps(told))
"""


def test_every_snippet_is_run():
    here = "".join(path.read_text("utf-8") for path in HERE.glob("test_*.py"))
    assert [title for title in FENCES if f'"{title}"' not in here] == []
    untitled = re.findall(r"^```(\w+)$", PAGE, re.M)
    # The first is below; test_docs.py runs those of Python, test_clients.py what the last two do.
    assert untitled == ["sh", "python", "python", "sh", "ts"]
    assert PAGE.count("\n```sh\n" + curl()) == 1


def curl():
    (line,) = re.findall(r"^curl -N .*\n", PAGE, re.M)
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
        timeout=100,
    )
    assert messages(done.stdout) == ITEMS, done.stderr


def in_jupyter(program, cells):
    """What the program prints of the cells, which it reads."""
    home = environment("jupyter", HERE / "jupyter.txt")
    done = subprocess.run(
        [home / "bin" / "python", "-c", program],
        input=json.dumps(cells),
        env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.full
@pytest.mark.timeout(300)  # the environment is to be made first
def test_the_cells_of_a_notebook(service):
    told = in_jupyter(RUN_CELLS, [snippet(title, service) for title in CELLS])
    one, two, three = ["".join(parts) for parts in told]
    assert messages(one) == messages(two) == ITEMS
    assert three.split() == ["to", "be", "or", "not"]


@pytest.mark.full
@pytest.mark.timeout(300)
def test_an_interrupt_closes_what_a_plain_cell_reads(service):
    client = f"""
from dual_mode_streaming.client import DualModeClient
with DualModeClient({service!r}) as client:
    for event in (events := client.stream("/data?count=2&interval=3600")):
        print("one")
"""
    bridge = """
import asyncio
from dual_mode_streaming.bridges import iterate_sync
log = []
async def endless():
    try:
        yield "one"
        await asyncio.sleep(3600)
    finally:
        log.append("closed")
with iterate_sync(endless()) as stream:
    for word in stream:
        print(word)
"""
    cells = [client, "print(events.outcome)", bridge, "print(log)"]
    interrupted = ["one", "KeyboardInterrupt"]
    told = in_jupyter(INTERRUPT_CELLS, cells)
    assert told == [interrupted, ["closed"], interrupted, ["['closed']"]]
