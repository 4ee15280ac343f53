"""Where recorded streams live when they outlive a connection: memory, SQLite, Redis."""

from dual_mode_streaming.stores.base import (
    Entry,
    Info,
    Limits,
    New,
    State,
    Store,
    StoreError,
    StoreFull,
    Verdict,
)
from dual_mode_streaming.stores.choice import open_store
from dual_mode_streaming.stores.memory import MemoryStore

__all__ = [
    "Entry",
    "Info",
    "Limits",
    "MemoryStore",
    "New",
    "State",
    "Store",
    "StoreError",
    "StoreFull",
    "Verdict",
    "open_store",
]
