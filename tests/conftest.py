"""Fixtures of all tests: a running service; and the report of tests that could not run."""

import contextlib
import gc
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest

from tests.helpers.service import DUAL_MODE, ROOT, Service, run_service

__all__ = ["DUAL_MODE", "ROOT", "Service", "not_available", "run_service"]

NOT_THERE = " is not there"

# A shell's background jobs ignore SIGINT, and their children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def service() -> Iterator[str]:
    """The URL of a service that all tests share."""
    with run_service("--log-level", "warning") as running:
        yield running.url


@pytest.fixture
def start_service() -> Iterator[Callable[..., Service]]:
    """A function that starts a service for one test, with flags and variables."""
    with contextlib.ExitStack() as stack:
        yield lambda *flags, **variables: stack.enter_context(run_service(*flags, **variables))


@pytest.fixture(autouse=True)
def garbage_collected_as_before() -> Iterator[None]:
    """Restore the garbage collector: an app of the service that runs in a test changes it."""
    before = gc.get_threshold()
    yield
    if gc.get_threshold() != before:
        gc.set_threshold(*before)
        gc.unfreeze()


def not_available(what: str, *, ci_has_it: bool = True) -> NoReturn:
    """Skip a test that needs a program which is not installed; on CI, fail if it can have it."""
    if os.environ.get("CI") and ci_has_it:
        pytest.fail(f"{what}{NOT_THERE}, and CI must test with it")
    pytest.skip(f"{what}{NOT_THERE}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = [str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", [])]
    missing = [reason.split()[1] for reason in reasons if reason.endswith(NOT_THERE)]
    for what, count in Counter(missing).items():
        terminalreporter.write_line(f"NOT TESTED: {count} tests that need {what}", red=True)
