"""The tree in the docstring of `errors` has every public exception, each below its base class."""

import importlib
import re

from dual_mode_streaming import errors

from .repository import module_name, sources


def drawn():
    """The base class of each exception in the tree."""
    path, bases = [], {}
    for line in errors.__doc__.splitlines():
        if node := re.match(r" {4}((?:[│├└─ ]{4})*)(\w+)(?:  |$)", line):
            depth = len(node[1]) // 4
            path[depth:] = [node[2]]
            bases[node[2]] = path[depth - 1] if depth else None
    return bases


def derived(kind):
    for subclass in kind.__subclasses__():
        if subclass.__module__.startswith("dual_mode_streaming."):
            if not subclass.__name__.startswith("_"):
                yield subclass.__name__, kind.__name__
            yield from derived(subclass)


def test_the_tree_has_every_exception_below_its_base():
    for path in sources():
        importlib.import_module(module_name(path))
    roots = {"DualModeError": None, "HTTPException": None, "Problem": "HTTPException"}
    assert drawn() == {
        **roots,
        **dict(derived(errors.DualModeError)),
        **dict(derived(errors.Problem)),
    }
