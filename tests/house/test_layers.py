"""The rule of layers: imports go downward only, and the lowest layer has no `async`."""

import ast
import sys
from pathlib import Path

import pytest

from .repository import PACKAGE, module_name, sources

NAME = PACKAGE.name

# The layer of each part of the package. Imports within a part are free.
LAYERS = {
    "errors": 0,
    "negotiation": 0,
    "sse": 0,
    "rendering": 0,
    "_tags": 0,
    "_codec": 0,
    "_feed_cache": 0,
    "_restoring": 0,
    "_lazy": 0,
    "running": 1,
    "streams": 1,
    "bridges": 1,
    "stores": 2,
    "recordings": 2,
    "channels": 2,
    "limits": 2,
    "web": 3,
    "llm": 4,
    "client": 4,
    "testing": 4.5,  # may use all but the service
    "observability": 4,
    "server": 5,
    "commands": 5,
    "ui": 5,
    "cli": 5,
}


def part_of(module: str) -> str | None:
    """`web` of `dual_mode_streaming.web._body`; None for the package itself, and for others."""
    names = module.split(".")
    return names[1] if names[0] == NAME and len(names) > 1 else None


def imports(path: Path) -> set[str]:
    """The modules that a source file imports, anywhere in it, by their full names."""
    package = module_name(path)
    return imported(
        path.read_text("utf-8"), package if path.stem == "__init__" else package.rpartition(".")[0]
    )


def imported(text: str, package: str) -> set[str]:
    """The same of a text that is a module of `package`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base]).rstrip(".")
            found.add(base)
            if base == NAME:  # `from dual_mode_streaming import web`
                found.update(f"{base}.{alias.name}" for alias in node.names)
    return found


INNER = [path for path in sources() if path != PACKAGE / "__init__.py"]
LOWEST = [path for path in INNER if LAYERS.get(part_of(module_name(path))) == 0]


@pytest.mark.parametrize("path", INNER, ids=module_name)
def test_imports_go_downward(path):
    part = part_of(module_name(path))
    assert part in LAYERS, f"give {part!r} its layer in LAYERS"
    for module in imports(path):
        other = part_of(module)
        if other in LAYERS and other != part:
            assert LAYERS[other] <= LAYERS[part], f"{part} must not import {other}"
        elif other is None and module == NAME:
            assert LAYERS[part] >= 5, f"{part} must import from where a name is defined"


@pytest.mark.parametrize("path", LOWEST, ids=module_name)
def test_the_lowest_layer_knows_no_async_and_no_one_but_pydantic(path):
    tree = ast.parse(path.read_text("utf-8"))
    concurrent = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, concurrent)]
    allowed = {*sys.stdlib_module_names, "pydantic", "pydantic_core", NAME} - {"asyncio"}
    if path.stem == "errors":
        allowed.add("starlette")  # Problem is an HTTPException
    foreign = {module.split(".")[0] for module in imports(path)} - allowed
    assert not foreign


@pytest.mark.parametrize(
    "text",
    [
        "import dual_mode_streaming.web._batch_sink",
        "def f():\n    from dual_mode_streaming.web._batch_sink import first",
        "from dual_mode_streaming import web",
        "from ..web import batch",
    ],
)
def test_the_rule_sees_every_way_to_import(text):
    assert "web" in {part_of(module) for module in imported(text, f"{NAME}.streams")}
