"""Stores of recorded streams: in memory, in a SQLite file, in Redis."""

import importlib
from typing import TYPE_CHECKING, Any

from dual_mode_streaming.stores._base import (
    AppendResult,
    Entry,
    Limits,
    NewStream,
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
    "MemoryStore",
    "NewStream",
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


def __getattr__(name: str) -> Any:
    try:
        module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = globals()[name] = getattr(module, name)
    return value
