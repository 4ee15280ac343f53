"""Admission of requests: API keys, concurrency limits and rate limits, in memory or on Redis."""

import importlib
from typing import TYPE_CHECKING, Any

from dual_mode_streaming.limits._admission import Admission, TooMany
from dual_mode_streaming.limits._keys import APIKeys, credentials, key_digest
from dual_mode_streaming.limits._memory import LimitBackend, MemoryLimits

if TYPE_CHECKING:
    from dual_mode_streaming.limits._redis import RedisLimits

__all__ = [
    "APIKeys",
    "Admission",
    "LimitBackend",
    "MemoryLimits",
    "RedisLimits",
    "TooMany",
    "credentials",
    "key_digest",
]


def __getattr__(name: str) -> Any:
    if name != "RedisLimits":  # loaded on first use: it needs redis-py
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}._redis")
    value = globals()[name] = module.RedisLimits
    return value
