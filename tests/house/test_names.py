"""Names mean one thing: no class name twice, and each public module is on the page of the API."""

import ast
import runpy
from collections import defaultdict

from .repository import ROOT, module_name, sources

# Class names that still stand for several things; the list only gets shorter.
TWICE = {
    "Answer",
    "AnswerError",
    "Call",
    "Dialect",
    "Driver",
    "Exchange",
    "Position",
    "Producer",
    "Reader",
    "Record",
    "Router",
    "Server",
    "Stream",
    "Strict",
}

# Public modules that docs/api.md does not list; the list only gets shorter.
UNLISTED = {
    f"dual_mode_streaming.{name}"
    for name in [
        "cli",
        "commands",
        "errors",
        "llm.providers",
        "llm.simulator",
        "llm.wire",
        "negotiation",
        "observability",
        "recordings",
        "rendering",
        "running",
        "running.owner",
        "running.timeslice",
        "server",
        "server.app",
        "server.routes",
        "server.run",
        "server.settings",
        "sse",
        "ui",
        "web",
        "web.recorded",
    ]
}


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
    assert not {name: twice[name] for name in twice.keys() - TWICE}


def test_each_public_module_is_on_the_page_of_the_api():
    """A package counts, and not the modules in it whose names it exports."""
    listed = set(runpy.run_path(str(ROOT / "scripts" / "site.py"))["MODULES"])
    public = {
        name
        for name in map(module_name, sources())
        if not any(part.startswith("_") for part in name.split("."))
    }
    assert not public - listed - UNLISTED
