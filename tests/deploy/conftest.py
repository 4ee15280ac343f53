"""The shipped nginx in front of workers, and the browser."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.browser.conftest import browser, page
from tests.stores.conftest import redis_server

from .nginx import Nginx

__all__ = ["browser", "page", "redis_server"]


@pytest.fixture
def nginx_before(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[int, int], Nginx]]:
    """Starts one, in front of the workers of two ports."""
    with contextlib.ExitStack() as stack:

        def start(first: int, second: int) -> Nginx:
            nginx = Nginx(tmp_path_factory.mktemp("nginx"), first, second)
            stack.callback(nginx.close)
            return nginx.start()

        yield start
