"""The Redis servers that the tests of limits need."""

from tests.stores.conftest import faulty_redis, redis_server

__all__ = ["faulty_redis", "redis_server"]
