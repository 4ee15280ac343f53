"""What an editor sees: pyright reports the lines that mypy reports; each option has its text."""

import ast
import inspect
import itertools
import json
import subprocess
from pathlib import Path
from typing import Any

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


class Editor:
    """A language server, asked as an editor asks it."""

    def __init__(self, command: list[Any], root: Path) -> None:
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._ids = itertools.count(1)
        self.root = root
        folders = [{"uri": root.as_uri(), "name": "edited"}]
        self.request("initialize", processId=None, capabilities={}, workspaceFolders=folders)
        self._send({"method": "initialized", "params": {}})

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._server.stdin is not None
        self._server.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self._server.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._server.stdout is not None
        length = 0
        while (line := self._server.stdout.readline().strip()) or not length:
            assert line, "the language server has ended"
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return json.loads(self._server.stdout.read(length))  # type: ignore[no-any-return]

    def request(self, method: str, **params: Any) -> Any:
        """Return the result of a request. The server's own are answered with nothing."""
        number = next(self._ids)
        self._send({"id": number, "method": method, "params": params})
        while "result" not in (answer := self._receive()) or answer.get("id") != number:
            if "method" in answer and "id" in answer:
                items = answer["params"].get("items", []) if answer["params"] else []
                self._send({"id": answer["id"], "result": [None for _ in items] or None})
            assert "error" not in answer, answer
        return answer["result"]

    def opened(self, text: str) -> str:
        """Return the address of a file that is open in the editor."""
        path = self.root / "edited.py"
        path.write_text(text)
        document = {"uri": path.as_uri(), "languageId": "python", "version": 1, "text": text}
        self._send({"method": "textDocument/didOpen", "params": {"textDocument": document}})
        return path.as_uri()

    def hover(self, uri: str, line: int, column: int) -> str:
        """Return what the editor shows for the word at a position."""
        shown = self.request(
            "textDocument/hover",
            textDocument={"uri": uri},
            position={"line": line, "character": column},
        )
        return "" if shown is None else shown["contents"]["value"]

    def close(self) -> None:
        self._server.kill()
        self._server.communicate()


@pytest.mark.full
@pytest.mark.timeout(600)
def test_an_editor_shows_the_text_of_each_option_and_the_parameters_of_an_endpoint(tmp_path):
    home = environment("pyright", TYPING / "pyright.txt")
    configured = {"venvPath": str(ROOT), "venv": ".venv"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(configured))
    texts = {}
    tree = ast.parse((PACKAGE / "web" / "_options.py").read_text("utf-8"))
    (options,) = [node for node in ast.walk(tree) if getattr(node, "name", None) == "Options"]
    for field, text in itertools.pairwise(options.body):
        if isinstance(field, ast.AnnAssign):
            texts[ast.unparse(field.target)] = " ".join(text.value.value.split())
    lines = [
        "from collections.abc import AsyncIterator",
        "from fastapi import FastAPI; from dual_mode_streaming import dual_mode, install",
        "@dual_mode",
        "async def items(count: int) -> AsyncIterator[int]:",
        '    """Count up."""',
        "    yield count",
        "items",
        "items.generator",
        *(f"dual_mode({name}=None)" for name in texts),
        *(f"install(FastAPI(), {name}=None)" for name in texts),
    ]
    editor = Editor([home / "bin" / "basedpyright-langserver", "--stdio"], tmp_path)
    try:
        uri = editor.opened("\n".join(lines))
        for number, line in enumerate(lines[8:], 8):
            start = line.rindex("=") - 1
            name = line[: start + 1].replace("install(FastAPI(), ", "").replace("dual_mode(", "")
            shown = " ".join(editor.hover(uri, number, start).replace("\\", "").split())
            assert texts[name] in shown, (line, shown)
        of_decorator = editor.hover(uri, 2, 1)
        assert "Server-Sent Events" in of_decorator
        for name in inspect.signature(dual_mode).parameters:
            assert name in of_decorator, name
        assert "count: int" in editor.hover(uri, 6, 0)
        assert "AsyncIterator[int]" in editor.hover(uri, 6, 0)
        assert "The undecorated function" in editor.hover(uri, 7, 7)
    finally:
        editor.close()
