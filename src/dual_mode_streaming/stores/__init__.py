"""Stores of streams: in memory, in a SQLite file, in Redis."""

from typing import TYPE_CHECKING

from dual_mode_streaming._lazy import lazy_attributes
from dual_mode_streaming.stores._base import (
    AppendResult,
    Entry,
    Limits,
    Mark,
    NewStream,
    Published,
    State,
    Store,
    StoreError,
    StoreFull,
    StreamInfo,
)
from dual_mode_streaming.stores._factory import open_store
from dual_mode_streaming.stores._memory import MemoryStore

if TYPE_CHECKING:
    from dual_mode_streaming.stores._redis import RedisStore
    from dual_mode_streaming.stores._sqlite import SQLiteStore

__all__ = [
    "AppendResult",
    "Entry",
    "Limits",
    "Mark",
    "MemoryStore",
    "NewStream",
    "Published",
    "RedisStore",
    "SQLiteStore",
    "State",
    "Store",
    "StoreError",
    "StoreFull",
    "StreamInfo",
    "open_store",
]

_MODULES = {  # imported on first use: MemoryStore needs neither sqlite3 nor redis-py
    "RedisStore": "_redis",
    "SQLiteStore": "_sqlite",
}

__getattr__ = lazy_attributes(__name__, _MODULES)
