"""Run the checks of one exercise on one file, and describe what is wrong."""

import ast
import asyncio
import importlib.util
import inspect
import json
import logging
import textwrap
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import httpx

from dual_mode_streaming.testing import StreamingTransport, run_with_virtual_clock

__all__ = ["Finding", "Task", "examine", "load"]

FOREVER = 7 * 24 * 3600.0
"""Seconds on the virtual clock, after which a check counts as waiting forever."""

STILL = "still to do"


@dataclass(frozen=True)
class Finding:
    """What is wrong with a file: the goal, the expected and the found value, and the line."""

    aim: str
    expected: str
    found: str
    line: int

    def message(self, path: str, read: str, number: int) -> str:
        """Return the message for the reader of the exercise."""
        rows = {
            "the goal": self.aim,
            "expected": self.expected,
            "found": self.found,
            "where": f"{path}:{self.line}",
            "read": read,
            "then": f"make exercise-{number}   (make hint-{number} shows three hints)",
        }
        lines = [f"{path} is not solved yet.", ""]
        for name, text in rows.items():
            first, *others = textwrap.wrap(text, 84, break_on_hyphens=False) or [""]
            lines += [f"  {name:9} {first}", *(f"  {'':9} {other}" for other in others)]
        return "\n".join(lines)


class _NotAsExpected(Exception):
    """A check found another value than it expected."""


class Task:
    """The interface of a check: it states an aim, and then reports what it found."""

    def __init__(self) -> None:
        self.aimed = "the file can be imported"
        self.expected: Any = "Python without errors"
        self.raised: list[BaseException] = []

    def aim(self, what: str, expected: Any) -> None:
        """State the next aim. An exception from here on counts as its failure."""
        self.aimed, self.expected = what, expected
        self.raised.clear()

    def found(self, value: Any) -> None:
        """Compare a value with the expected one."""
        if value != self.expected:
            self.fail(value)

    def fail(self, found: Any) -> NoReturn:
        """End the check: the aim is not reached."""
        raise _NotAsExpected(shown(found)) from (self.raised[-1] if self.raised else None)

    def client(self, app: Any) -> httpx.AsyncClient:
        """Return an HTTP client that calls the app in this process."""

        async def watched(*exchange: Any) -> None:
            try:
                await app(*exchange)
            except Exception as error:  # the client sees only a 500
                self.raised.append(error)
                raise

        transport = StreamingTransport(watched)
        return httpx.AsyncClient(transport=transport, base_url="http://exercise", timeout=None)


def shown(value: Any) -> str:
    """Return a value in readable form."""
    if isinstance(value, str) and "\n" not in value and "  " not in value:
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(value)


def load(path: Path) -> ModuleType:
    """Load a file as a new module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def examine(path: Path, checks: ModuleType) -> Finding | None:
    """Run the checks on the file. Return None if it is solved."""
    task = Task()
    error: BaseException | None
    with _failures_in_streams(task.raised):
        try:
            _run(checks.check, load(path), task)
        except _NotAsExpected as wrong:
            found, error = str(wrong), wrong.__cause__
            if error is not None:
                said = _in_words(error)
                found = said if said.startswith(STILL) else f"{found} ({said})"
        except (Exception, SystemExit) as failure:
            error = task.raised[-1] if task.raised else failure
            found = _in_words(error)
        else:
            return None
    line = _line_of(error, path) or _line_to_edit(path, checks.AT)
    return Finding(task.aimed, shown(task.expected), found, line)


def _run(check: Callable[[Any, Task], Any], module: ModuleType, task: Task) -> None:
    if not inspect.iscoroutinefunction(check):
        check(module, task)
        return

    async def in_time() -> None:
        async with asyncio.timeout(FOREVER):
            await check(module, task)

    run_with_virtual_clock(in_time())


@contextmanager
def _failures_in_streams(raised: list[BaseException]) -> Iterator[None]:
    """Collect what generators raise after their first item, from the log."""

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and isinstance(record.exc_info[1], Exception):
                raised.append(record.exc_info[1])

    logger, handler = logging.getLogger("dual_mode_streaming"), Keep()
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and its causes."""
    while error is not None:
        yield error
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
        error = inner or error.__cause__


def _in_words(error: BaseException) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return "it does not end: something waits forever"
    root = list(_chain(error))[-1]
    if isinstance(root, NotImplementedError) and str(root).startswith("TODO"):
        return f"{STILL}: {str(root).removeprefix('TODO:').strip()}"
    if isinstance(root, AssertionError):
        return str(root) or "a failed assert"
    return f"{type(root).__name__}: {root}"


def _line_of(error: BaseException | None, path: Path) -> int | None:
    """Return the line of the file in which the error was raised, or None."""
    found = None
    for each in _chain(error):
        if isinstance(each, SyntaxError) and each.filename == str(path):
            found = each.lineno
        for frame in traceback.extract_tb(each.__traceback__):
            if frame.filename == str(path):
                found = frame.lineno
    return found


def _line_to_edit(path: Path, name: str) -> int:
    """Return the line of the first TODO, or else of the function to be checked."""
    text = path.read_text("utf-8", "replace")
    for number, line in enumerate(text.splitlines(), 1):
        if "TODO" in line:
            return number
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return 1
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name:
            return node.lineno
    return 1
