"""The public names of a module are its `__all__`, and the package is cheap to import."""

import ast
import importlib
import subprocess
import sys

import pytest

import dual_mode_streaming

from .repository import module_name, sources


def is_private(path):
    return any(part.startswith("_") for part in module_name(path).split("."))


# A private module needs no list: what its package uses of it has no underscore.
MODULES = [
    path
    for path in sources()
    if "\n__all__ = " in path.read_text("utf-8")
    or not (path.name == "__init__.py" or is_private(path))
]


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_modules_own_public_classes_and_functions_are_its_all(path):
    module = importlib.import_module(module_name(path))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    defined = {
        node.name
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, kinds) and not node.name.startswith("_")
    }
    assert not defined - set(module.__all__), "public, and not in __all__"
    assert not [name for name in module.__all__ if not hasattr(module, name)]
    assert len(set(module.__all__)) == len(module.__all__)


def test_every_public_name_of_the_package_loads():
    for name in dual_mode_streaming.__all__:
        assert getattr(dual_mode_streaming, name) is not None
    assert set(dual_mode_streaming.__all__) <= set(dir(dual_mode_streaming))
    with pytest.raises(AttributeError):
        _ = dual_mode_streaming.no_such_name  # type: ignore[attr-defined]


def test_the_package_is_cheap_to_import():
    heavy = "{'fastapi', 'pydantic', 'httpx', 'starlette'}"
    script = f"import sys, dual_mode_streaming; print(*({heavy} & sys.modules.keys()))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert answer.stdout.strip() == "", "import dual_mode_streaming loads these"
