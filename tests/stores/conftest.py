"""Redis servers for the tests of stores."""

from collections.abc import Iterator

import pytest

from .redis_server import RedisServer


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that all tests share, each with a prefix of its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def faulty_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for one test. It keeps every acknowledged write when it is killed."""
    flags = ("--appendonly", "yes", "--appendfsync", "always", "--aof-load-truncated", "yes")
    server = RedisServer(tmp_path_factory.mktemp("faulty"), *flags)
    server.start()
    yield server
    server.kill()
