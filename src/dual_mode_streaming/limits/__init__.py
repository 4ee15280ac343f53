"""Admission of requests: API keys, concurrency limits and rate limits, in memory or on Redis."""

from typing import TYPE_CHECKING

from dual_mode_streaming._lazy import lazy_attributes
from dual_mode_streaming.limits._admission import Admission, TooMany
from dual_mode_streaming.limits._keys import APIKeys, credentials, key_digest
from dual_mode_streaming.limits._memory import LimitBackend, MemoryLimits

if TYPE_CHECKING:
    from dual_mode_streaming.limits._guard import guarded_route
    from dual_mode_streaming.limits._redis import RedisLimits

__all__ = [
    "APIKeys",
    "Admission",
    "LimitBackend",
    "MemoryLimits",
    "RedisLimits",
    "TooMany",
    "credentials",
    "guarded_route",
    "key_digest",
]

# Loaded on first use: they need redis-py, and FastAPI.
__getattr__ = lazy_attributes(__name__, {"RedisLimits": "_redis", "guarded_route": "_guard"})
