"""The server of a storm: a new one for each, or the memory would be that of the one before."""

from collections.abc import Iterator

import pytest

from tests.conftest import Service

from .crowd import served


@pytest.fixture
def witness() -> Iterator[Service]:
    """The service with generators that are counted."""
    with served("witness") as running:
        yield running
