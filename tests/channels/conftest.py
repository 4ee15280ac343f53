"""Fixtures: a store of each kind, and its address for other processes."""

import secrets

import pytest

from dual_mode_streaming.stores import MemoryStore, RedisStore, SQLiteStore
from tests.stores.conftest import faulty_redis, redis_server  # noqa: F401


@pytest.fixture(params=["memory", "sqlite", "redis"])
def kind(request):
    return request.param


@pytest.fixture
def address(request, kind, tmp_path):
    """The address of an empty store."""
    if kind == "memory":
        return "memory"
    if kind == "sqlite":
        return f"sqlite:{tmp_path / 'channels.db'}"
    server = request.getfixturevalue("redis_server")
    server.ask("FLUSHALL")
    return server.url


@pytest.fixture
def store(request, kind, tmp_path):
    if kind == "memory":
        return MemoryStore()
    if kind == "sqlite":
        return SQLiteStore(tmp_path / "channels.db", synchronous="OFF")
    server = request.getfixturevalue("redis_server")
    return RedisStore(server.url, prefix=secrets.token_hex(4))
