"""What a test needs from the machine: without it the test is skipped, and on CI it fails."""

import os
import shutil
from typing import NoReturn

import pytest


def program(name: str) -> str:
    """The path of a program; skips the test where there is none."""
    return shutil.which(name) or missing(name)


def missing(what: str) -> NoReturn:
    """End the test: `what` could not be had. On CI that is a failure, elsewhere a skip."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"not tested: there is no {what}, and CI must have it")
    pytest.skip(f"NOT TESTED: there is no {what} on this machine")
