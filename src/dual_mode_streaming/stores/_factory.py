"""Which store: by its address."""

from dual_mode_streaming.stores._base import Limits, Store
from dual_mode_streaming.stores._memory import MemoryStore

__all__ = ["check_address", "open_store"]


def check_address(address: str) -> str:
    """The address, if it is one of a store. ValueError, one line that says what would be right."""
    scheme, _, rest = address.partition(":")
    known = address == "memory" or (scheme == "sqlite" and rest)
    if known or (scheme in ("redis", "rediss", "unix") and rest.startswith("//")):
        return address
    raise ValueError("memory, sqlite:PATH or redis://HOST:PORT")  # it may hold a password


def open_store(address: str = "memory", limits: Limits | None = None) -> Store:
    """The store of an address: `memory`, `sqlite:PATH` or `redis://…`; whoever opens it closes it.

    ValueError for another address, or if redis-py is not installed.
    """
    check_address(address)
    if address == "memory":
        return MemoryStore(limits)
    scheme, _, rest = address.partition(":")
    if scheme == "sqlite":
        from dual_mode_streaming.stores._sqlite import SQLiteStore

        return SQLiteStore(rest, limits)
    try:
        from dual_mode_streaming.stores._redis import RedisStore
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "redis":
            raise
        raise ValueError(
            "redis-py is not installed: pip install 'dual-mode-streaming[redis]'"
        ) from None
    return RedisStore(address, limits)
