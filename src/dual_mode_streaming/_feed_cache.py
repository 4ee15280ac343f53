"""The JSON of the items of a feed, made once for all its readers."""

from collections.abc import Callable
from typing import Any, Final

_MAX_BYTES: Final = 1024 * 1024
_ITEM_BYTES: Final = 4096
"""The cache keeps at most `_MAX_BYTES`; an item itself counts as `_ITEM_BYTES`, so that at most 256
are kept."""


class FeedCache:
    """Encodes as `encode` does, and keeps the JSON of the newest items.

    An item is found by its identity, so it must never change; while it is kept, no other object can
    have the same identity. A full cache is emptied, and its items are encoded again if needed.
    """

    __slots__ = ("_encode", "_kept", "_size")

    def __init__(self, encode: Callable[[Any], bytes]) -> None:
        self._encode = encode
        self._kept: dict[int, tuple[Any, bytes]] = {}
        self._size = 0

    def __call__(self, item: Any) -> bytes:
        """Return the item's JSON. Raises what `encode` raises."""
        kept = self._kept.get(id(item))
        if kept is not None:
            return kept[1]
        data = self._encode(item)
        self._size += len(data) + _ITEM_BYTES
        if self._size > _MAX_BYTES:
            self._kept.clear()
            self._size = len(data) + _ITEM_BYTES
        self._kept[id(item)] = item, data
        return data
