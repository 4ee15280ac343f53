"""Which representation a request gets: Accept negotiation by RFC 9110, and the stream flag."""

import enum
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from dual_mode_streaming.errors import NotAcceptable

__all__ = ["AVAILABLE", "Negotiated", "ResponseMode", "detect_mode", "negotiate", "parse_flag"]

_MAX_BYTES: Final = 8192
"""What is read of an Accept header; browsers send about 150 bytes. Ranges behind it count for
nothing, so that a header of nothing else is one that names nothing we have."""


class ResponseMode(enum.Enum):
    """How a generator is answered."""

    BATCH = "batch"
    STREAM = "stream"
    LINES = "lines"

    @property
    def media_type(self) -> str:
        """The media type that the mode is answered with unless another one was asked for."""
        return _MEDIA_TYPES[self]


_MEDIA_TYPES: Final = {
    ResponseMode.BATCH: "application/json",
    ResponseMode.STREAM: "text/event-stream",
    ResponseMode.LINES: "application/jsonl",
}

# What can be answered. The order decides between types that a client wants equally: first where it
# names them, then where a wildcard covers them.
_NAMED_ORDER: Final = (
    ("text/event-stream", ResponseMode.STREAM),
    ("application/json", ResponseMode.BATCH),
    ("application/jsonl", ResponseMode.LINES),
    ("application/x-ndjson", ResponseMode.LINES),
)
_WILDCARD_ORDER: Final = ("application/json", "text/event-stream", "application/jsonl")
_FLAGS: Final = {
    **dict.fromkeys(("true", "1", "yes", "y", "on", "t"), True),
    **dict.fromkeys(("false", "0", "no", "n", "off", "f"), False),
}
AVAILABLE: Final = tuple(media_type for media_type, _ in _NAMED_ORDER)


class Negotiated(NamedTuple):
    """The mode, and the media type to answer it with."""

    mode: ResponseMode
    media_type: str


def parse_flag(value: str) -> bool:
    """The stream flag of a query string, as FastAPI reads a bool.

    Raises ValueError, which says what would be right.
    """
    flag = _FLAGS.get(value.lower())
    if flag is None:
        raise ValueError(f"the stream flag must be true or false, not {value[:40]!r}")
    return flag


def detect_mode(accept: str | Iterable[str] | None, stream: bool | None = None) -> ResponseMode:
    """The mode that a request asks for.

    An explicit `stream` wins: True is STREAM, False is BATCH. Then Accept decides (RFC 9110,
    12.5.1), by q and by how specific its ranges are; it may be given as several header values. On
    equal q among types that are named STREAM wins; a wildcard, or no header, means BATCH.

    Raises NotAcceptable if nothing that there is satisfies the header.
    """
    return negotiate(accept, stream).mode


def negotiate(accept: str | Iterable[str] | None, stream: bool | None = None) -> Negotiated:
    """Like `detect_mode`, with the media type to answer with: `application/x-ndjson` if asked."""
    if stream is not None:
        mode = ResponseMode.STREAM if stream else ResponseMode.BATCH
        return Negotiated(mode, mode.media_type)
    if accept is not None and not isinstance(accept, str):
        accept = ",".join(accept)
    if accept is None:
        accept = ""
    return _by_accept(accept) if len(accept) <= 256 else _parsed(accept)


def _parsed(accept: str) -> Negotiated:
    if not accept.strip(" \t,"):
        return Negotiated(ResponseMode.BATCH, ResponseMode.BATCH.media_type)
    ranges = _Ranges(accept)
    best: tuple[float, bool, int] | None = None
    chosen: Negotiated | None = None
    for order, (media_type, mode) in enumerate(_NAMED_ORDER):
        q, named = ranges.weight(media_type)
        if q == 0:
            continue
        if not named:
            if media_type not in _WILDCARD_ORDER:
                continue
            order = _WILDCARD_ORDER.index(media_type)
        rank = (q, named, -order)
        if best is None or rank > best:
            best, chosen = rank, Negotiated(mode, media_type)
    if chosen is None:
        raise NotAcceptable(AVAILABLE)
    return chosen


_by_accept = lru_cache(maxsize=256)(_parsed)


class _Ranges:
    """The media ranges of a header with their weights; the first of two that are alike counts.

    What we answer has no parameters (but UTF-8 is its charset), so a range with some is not for it
    to the letter. It counts where that makes an answer more acceptable, and never less. What is no
    media range, or has no valid q, is passed over.
    """

    def __init__(self, accept: str) -> None:
        self._plain: dict[str, float] = {}
        self._with_parameters: dict[str, float] = {}
        parts = _split(accept[:_MAX_BYTES], ",")
        if len(accept) > _MAX_BYTES:
            parts.pop()  # it is cut, perhaps inside of its q
        for part in parts:
            if "/" in part:
                self._take(part)

    def _take(self, part: str) -> None:
        media_range, *parameters = _split(part, ";")
        media_range = media_range.strip(" \t").lower()
        if "/" not in media_range:
            return
        ranges = self._plain
        weight: str | None = None
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            name, value = name.strip(" \t").lower(), value.strip(" \t")
            if name == "q":
                weight = value if weight is None else weight
            elif name and (name, value.strip('"').lower()) != ("charset", "utf-8"):
                ranges = self._with_parameters
        q = 1.0 if weight is None else _weight(weight)
        if q is not None:
            ranges.setdefault(media_range, q)

    def weight(self, media_type: str) -> tuple[float, bool]:
        """The q of a media type by its most specific range, and whether that names it."""
        if (q := self._plain.get(media_type)) is not None:
            return q, True
        wildcards = (media_type.partition("/")[0] + "/*", "*/*")
        loose = self._with_parameters
        covered = next((self._plain[name] for name in wildcards if name in self._plain), 0.0)
        covered = max(covered, *(loose.get(name, 0.0) for name in wildcards))
        named = loose.get(media_type, 0.0)
        return (named, True) if named and named >= covered else (covered, False)


def _split(text: str, separator: str) -> list[str]:
    """Split at the separator where it is not inside a quoted string."""
    if '"' not in text:
        return text.split(separator)
    parts, start, quoted, escaped = [], 0, False, False
    for index, character in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == separator and not quoted:
            parts.append(text[start:index])
            start = index + 1
    parts.append(text[start:])
    return parts


def _weight(text: str) -> float | None:
    """RFC 9110, 12.4.2: 0 to 1 with up to three decimals; None for anything else.

    The 0 before the point may be missing, as in the default header of Java's HttpURLConnection.
    """
    whole, dot, decimals = text.partition(".")
    if whole not in ("0", "1", "" if decimals else "0") or len(decimals) > 3:
        return None
    if decimals and not (decimals.isascii() and decimals.isdigit()):
        return None
    q = float(f"{whole}{dot}{decimals}")
    return q if q <= 1 else None
