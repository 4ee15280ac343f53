"""The servers that the tests of stores need."""

from collections.abc import Iterator

import pytest

from .redis_server import RedisServer


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that all tests share; each takes a prefix of its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def faulty_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for one test, that keeps every acknowledged write; to be killed and started again."""
    flags = ("--appendonly", "yes", "--appendfsync", "always", "--aof-load-truncated", "yes")
    server = RedisServer(tmp_path_factory.mktemp("faulty"), *flags)
    server.start()
    yield server
    server.kill()
