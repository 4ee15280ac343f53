"""Compressed bodies of requests: gzip, deflate and zstd."""

import importlib
import zlib
from collections.abc import Callable
from typing import Any, Final

from dual_mode_streaming.errors import Problem

_MEMBERS: Final = 100
"""The most members of a compressed body. Each is a copy of what follows it."""

_CODINGS: Final = 3
"""The most codings of a body, one inside the other. Each is all of the work again."""

_WINDOWS: Final = (23, 27)
"""The logarithms of the largest window of zstd: 8 MiB (RFC 9659), or the limit of the body."""

_GZIP, _ZLIB, _RAW = 31, 15, -15  # of zlib: the window's size and the container


def _zstd() -> Any:
    for name in ("compression.zstd", "backports.zstd"):  # Python 3.14, and before
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


_ZSTD: Final = _zstd()
_DAMAGED: Final[tuple[type[Exception], ...]] = (
    (zlib.error, EOFError) if _ZSTD is None else (zlib.error, EOFError, _ZSTD.ZstdError)
)


def decompressed(content: bytes, coding: str, limit: int) -> bytes:
    """Return the content of a body, of at most `limit` bytes.

    Args:
        content: the body.
        coding: its Content-Encoding (RFC 9110, section 8.4).
        limit: the most bytes; no more of it are decompressed.

    Raises:
        Problem: 415 for an unknown coding, 400 for a damaged body, 413 for one that is too large.
    """
    names = [part.strip().lower() for part in coding.split(",")]
    codings = [name for name in names if name not in ("", "identity")]
    if len(codings) > _CODINGS:
        raise Problem(415, f"content-encoding: {len(codings)} codings; at most {_CODINGS}")
    known = _known(limit)
    for name in reversed(codings):
        if name not in known:
            detail = f"content-encoding: {name[:50]!r} is not supported; supported: "
            supported = ", ".join(known)
            raise Problem(415, detail + supported, headers={"accept-encoding": supported})
        try:
            content = _read(content, known[name], limit)
        except _DAMAGED as error:
            raise Problem(400, f"the body is not valid {name}: {error}") from error
    return content


def _read(content: bytes, reader: Callable[[bytes], Any], limit: int) -> bytes:
    """Read all members of a compressed body."""
    whole, members = bytearray(), 0
    while content:
        members += 1
        if members > _MEMBERS:
            raise Problem(413, f"the body has more than {_MEMBERS} compressed members")
        member = reader(content)
        whole += member.decompress(content, limit + 1 - len(whole))
        if len(whole) > limit:
            raise Problem(413, f"the body has more than {limit} bytes when it is decompressed")
        if not member.eof:
            raise EOFError("it is cut")
        content = member.unused_data
    return bytes(whole)


def _known(limit: int) -> dict[str, Callable[[bytes], Any]]:
    known: dict[str, Callable[[bytes], Any]] = {
        "gzip": lambda _: zlib.decompressobj(_GZIP),
        "x-gzip": lambda _: zlib.decompressobj(_GZIP),
        # RFC 9110 means zlib by deflate; some clients send the bare format.
        "deflate": lambda head: zlib.decompressobj(_ZLIB if head[0] & 15 == 8 else _RAW),
    }
    if _ZSTD is not None:
        least, most = _WINDOWS
        window = {
            _ZSTD.DecompressionParameter.window_log_max: min(
                max(least, (limit - 1).bit_length()), most
            )
        }
        known["zstd"] = lambda _: _ZSTD.ZstdDecompressor(options=window)
    return known
