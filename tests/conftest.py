"""What tests share: the service as a process of its own, and a loud word on what is missing."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parent.parent
DUAL_MODE = str(Path(sys.executable).with_name("dual-mode"))
NOT_THERE = " is not there"

# In the background of a shell SIGINT is ignored, and what is started there inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Service:
    """A running `dual-mode serve`."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url
        self.log: deque[str] = deque(maxlen=10_000)  # the newest lines

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal, wait, and give the exit code."""
        self.process.send_signal(number)
        return self.process.wait(10)


@contextlib.contextmanager
def run_service(
    *flags: str, program: Sequence[str] = (DUAL_MODE, "serve", "--port", "0"), **variables: str
) -> Iterator[Service]:
    """The service, or a program that says where it serves in the same way."""
    process = subprocess.Popen(
        [*program, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | variables,
        start_new_session=True,
    )
    reading = None
    try:
        for line in process.stdout:
            if line.startswith("Serving on "):
                break
        else:
            raise AssertionError("the service did not start")
        # What it logs is read, or it would stand still when the pipe is full.
        running = Service(process, line.removeprefix("Serving on ").strip())
        reading = threading.Thread(target=running.log.extend, args=(process.stdout,))
        reading.start()
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if reading is not None:
            reading.join()
        process.stdout.close()


@pytest.fixture(scope="session")
def service() -> Iterator[str]:
    """The URL of a service that all tests share."""
    with run_service("--log-level", "warning") as running:
        yield running.url


@pytest.fixture
def start_service() -> Iterator[Callable[..., Service]]:
    """Starts a service of one's own, with flags and variables."""
    with contextlib.ExitStack() as stack:
        yield lambda *flags, **variables: stack.enter_context(run_service(*flags, **variables))


@pytest.fixture(autouse=True)
def garbage_collected_as_before() -> Iterator[None]:
    """The service collects seldom, and freezes what is there: only while a test runs it."""
    before = gc.get_threshold()
    yield
    if gc.get_threshold() != before:
        gc.set_threshold(*before)
        gc.unfreeze()


def not_available(what: str, *, ci_has_it: bool = True) -> NoReturn:
    """Skip a test for want of a program; on CI that is a failure, if CI can have it."""
    if os.environ.get("CI") and ci_has_it:
        pytest.fail(f"{what}{NOT_THERE}, and CI must test with it")
    pytest.skip(f"{what}{NOT_THERE}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = [str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", [])]
    missing = [reason.split()[1] for reason in reasons if reason.endswith(NOT_THERE)]
    for what, count in Counter(missing).items():
        terminalreporter.write_line(f"NOT TESTED: {count} tests that need {what}", red=True)
