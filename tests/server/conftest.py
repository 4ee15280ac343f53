"""One running service for the tests that only ask it something."""

import pytest

from .service import serving


@pytest.fixture(scope="session")
def service():
    with serving() as running:
        yield running
