"""The server that several storms share."""

from collections.abc import Iterator

import pytest

from ..conftest import Service
from .stage import served


@pytest.fixture(scope="module")
def witness() -> Iterator[Service]:
    """The service with generators that are counted."""
    with served("witness") as running:
        yield running
