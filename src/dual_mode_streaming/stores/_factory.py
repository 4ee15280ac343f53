"""Opens a store by its address."""

from dual_mode_streaming.stores._base import Limits, Store
from dual_mode_streaming.stores._memory import MemoryStore

_REDIS = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")


def check_address(address: str) -> str:
    """Return the address of a store.

    Raises:
        ValueError: if it is none. The message says what would be right, and does not repeat the
            address, which may contain a password.
    """
    scheme, _, rest = address.partition(":")
    is_local = address == "memory" or (scheme == "sqlite" and rest)
    if is_local or (is_redis(address) and rest.startswith("//")):
        return address
    raise ValueError("memory, sqlite:PATH or redis://HOST:PORT")


def check_store(store: object, what: str) -> None:
    """Raise an error that begins with `what` if this is neither a store nor the address of one."""
    if isinstance(store, str):
        try:
            check_address(store)
        except ValueError as error:
            raise ValueError(f"{what} must be {error}") from None
    elif not hasattr(store, "aclose"):
        raise TypeError(f"{what} must be a store or the address of one, not {store!r}")


def is_redis(address: str) -> bool:
    """Return whether an address is that of a Redis."""
    return address.partition(":")[0] in _REDIS


def open_store(address: str = "memory", limits: Limits | None = None) -> Store:
    """Open a store. The caller closes it with `aclose`.

    Args:
        address: `memory`, `sqlite:PATH`, or `redis://HOST:PORT` (also `rediss://`, `unix://`,
            `redis+sentinel://`).
        limits: the limits of the store.

    Raises:
        ValueError: if the address is not that of a store, or redis-py is not installed.
    """
    check_store(address, "the address of a store")
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
