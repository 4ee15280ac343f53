"""The number of values in a JSON body, counted while it arrives, before anything parses it.

Parsing and validating hold the event loop for a time that grows with the number of values, not of
bytes: two million small ones in 4 MB are seconds, and gigabytes of validation errors.
"""

import re
from typing import Final

from dual_mode_streaming.errors import Problem

BODY_VALUES: Final = 25_000
"""The most values and names in a JSON body, by default."""

_IS_JSON: Final = re.compile(rb"(?i)\s*([\w.-]+/([\w.-]+\+)?json|text/plain)?\s*(;|$)")


def may_be_json(content_type: bytes) -> bool:
    """Return whether a body of this content type, or of none, may be parsed as JSON."""
    return _IS_JSON.match(content_type) is not None


class JSONSize:
    """Counts the values and names of a body, outside of its strings, chunk by chunk.

    Args:
        limit: the most of them.
        is_json: whether the body is JSON for sure; otherwise only if it begins like an array or an
            object.
    """

    __slots__ = ("_carry", "_count", "_in_string", "_is_json", "_is_wide", "_limit")

    def __init__(self, limit: int, *, is_json: bool = True) -> None:
        self._limit = limit
        self._is_json: bool | None = is_json or None
        self._count = 0
        self._in_string = False
        self._is_wide = False  # UTF-16 or UTF-32: the bytes of a string cannot be told apart
        self._carry = b""

    @classmethod
    def of(cls, content_type: bytes, limit: int) -> "JSONSize | None":
        """Return the counter for a body of this content type, or of none; None if it is no JSON."""
        if not may_be_json(content_type):
            return None
        return cls(limit, is_json=b"json" in content_type.lower())

    def feed(self, chunk: bytes) -> None:
        """Count a chunk. Raises Problem (413) if there are too many values."""
        if self._is_json is None and (start := chunk.lstrip(b" \t\r\n\xef\xbb\xbf\xff\xfe\0")):
            self._is_json = start[:1] in (b"[", b"{")
        if not self._is_json:
            return
        self._is_wide = self._is_wide or b"\0" in chunk  # no JSON in UTF-8 has one
        outside = chunk if self._is_wide else self._outside(chunk)
        self._count += sum(map(outside.count, (b",", b":", b"[", b"{")))
        if self._count > self._limit:
            raise Problem(
                413,
                f"the body has more than {self._limit} JSON values and names",
                bound="body_values",
            )

    def _outside(self, chunk: bytes) -> bytes:
        """Return the parts of a chunk that are in no string."""
        chunk = self._carry + chunk
        odd = (len(chunk) - len(chunk.rstrip(b"\\"))) % 2
        self._carry = chunk[len(chunk) - odd :]  # what it escapes is in the next chunk
        chunk = chunk[: len(chunk) - odd].replace(rb"\\", b"").replace(rb"\"", b"")
        parts = chunk.split(b'"')
        outside = b"".join(parts[self._in_string :: 2])
        self._in_string ^= len(parts) % 2 == 0
        return outside
