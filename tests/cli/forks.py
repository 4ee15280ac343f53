"""Runs commands as forks of this process, which has loaded Python and httpx already.

A line on stdin is a batch, `[[arguments, input], …]`; they run at once, and a line on stdout says
what became of them, `[[exit code, stdout, stderr], …]`.
"""

import gc
import importlib
import json
import os
import sys
import tempfile

from dual_mode_streaming.cli import main

for name in (  # they take long to load
    "dual_mode_streaming.client",
    "dual_mode_streaming.llm",
    "dual_mode_streaming.server.settings",
    "httpcore",
    "rich.markdown",
    "rich.table",
    "typer._adapters",
    "typer.rich_utils",
):
    importlib.import_module(name)
gc.freeze()


def fork(arguments: list[str], text: str | None):
    """The child's number, and the files that it writes to."""
    files = [tempfile.TemporaryFile("w+", encoding="utf-8") for _ in range(3)]  # noqa: SIM115
    if text is not None:
        files[0].write(text)
        files[0].seek(0)
    child = os.fork()
    if child:
        return child, files
    for number, file in enumerate(files):
        os.dup2(file.fileno(), number)
    sys.argv = ["dual-mode", *arguments]
    main()
    raise AssertionError("main() exits")


def outcome(child, files):
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for file in files:
        file.seek(0)
    return [code, files[1].read(), files[2].read()]


if __name__ == "__main__":
    for line in sys.stdin:
        children = [fork(*one) for one in json.loads(line)]
        answer = json.dumps([outcome(*one) for one in children])
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()
