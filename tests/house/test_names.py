"""Names mean one thing: no class name twice, and each public module is on the page of the API."""

import ast
import runpy
from collections import defaultdict

from .repository import ROOT, module_name, sources


def classes():
    """The modules in which each class name is defined, nested and private classes among them."""
    found = defaultdict(list)
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name.lstrip("_")].append(module_name(path))
    return found


def test_no_class_name_is_defined_twice():
    twice = {name: modules for name, modules in classes().items() if len(modules) > 1}
    assert not twice


def test_each_public_module_is_on_the_page_of_the_api():
    """A package that has no names of its own is only a folder."""
    listed = set(runpy.run_path(str(ROOT / "scripts" / "site.py"))["MODULES"])
    public = {
        name
        for name in (
            module_name(path) for path in sources() if "__all__" in path.read_text("utf-8")
        )
        if not any(part.startswith("_") for part in name.split("."))
    }
    assert public == listed
