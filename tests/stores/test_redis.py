"""The store of Redis: what every store must do, and what befalls a Redis."""

import secrets

import pytest

from dual_mode_streaming.stores import Limits, RedisStore, Store
from dual_mode_streaming.testing import StoreConformance

from .redis_server import RedisServer


class TestRedisStore(StoreConformance):
    @pytest.fixture(autouse=True)
    def _own_prefix(self, redis_server: RedisServer) -> None:
        self.url = redis_server.url
        self.prefix = secrets.token_hex(4)

    async def open(self, limits: Limits) -> Store:
        return RedisStore(self.url, limits, prefix=self.prefix)
