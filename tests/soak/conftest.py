"""The Redis of the tests of stores."""

from tests.stores.conftest import redis_server

__all__ = ["redis_server"]
