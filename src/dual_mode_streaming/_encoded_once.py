"""The JSON of the items of a feed, made once for all who read it."""

from collections.abc import Callable
from typing import Any, Final

__all__ = ["EncodedOnce"]

_BYTES: Final = 1024 * 1024
_EACH: Final = 4096
"""So many bytes are kept, and so many an item itself is taken for; so no more than 256 items."""


class EncodedOnce:
    """Encodes as `encode` does, and keeps what it made of the newest items.

    An item is known by its identity, so it must never change; while it is kept, no other can have
    it. When there is no more room all is forgotten: what is on its way is encoded a second time.
    """

    __slots__ = ("_encode", "_kept", "_size")

    def __init__(self, encode: Callable[[Any], bytes]) -> None:
        self._encode = encode
        self._kept: dict[int, tuple[Any, bytes]] = {}
        self._size = 0

    def __call__(self, item: Any) -> bytes:
        """The item's JSON. Raises what `encode` raises."""
        known = self._kept.get(id(item))
        if known is not None:
            return known[1]
        data = self._encode(item)
        self._size += len(data) + _EACH
        if self._size > _BYTES:
            self._kept.clear()
            self._size = len(data) + _EACH
        self._kept[id(item)] = item, data
        return data
