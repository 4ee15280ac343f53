"""The choice of the representation: the Accept header (RFC 9110) and the stream flag."""

import enum
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from dual_mode_streaming.errors import NotAcceptable

__all__ = ["AVAILABLE", "Negotiated", "ResponseMode", "detect_mode", "negotiate", "parse_flag"]

_MAX_CHARACTERS: Final = 8192
"""The part of an Accept header that is read; the rest is ignored. Browsers send about 150."""


class ResponseMode(enum.Enum):
    """The representation of an answer: one JSON document, events, or JSON Lines."""

    BATCH = "batch"
    STREAM = "stream"
    LINES = "lines"

    @property
    def media_type(self) -> str:
        """The default media type of the mode."""
        return _MEDIA_TYPES[self]


_MEDIA_TYPES: Final = {
    ResponseMode.BATCH: "application/json",
    ResponseMode.STREAM: "text/event-stream",
    ResponseMode.LINES: "application/jsonl",
}

# The order decides between media types of equal weight: the first where the client names them, the
# second where a wildcard covers them.
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
"""The available media types, in the order of preference."""


class Negotiated(NamedTuple):
    """The mode of an answer and its media type."""

    mode: ResponseMode
    media_type: str


def parse_flag(value: str) -> bool:
    """Parse the stream flag of a query string, as FastAPI reads a bool.

    Raises:
        ValueError: the value is not a bool; the message says what is allowed.
    """
    flag = _FLAGS.get(value.lower())
    if flag is None:
        raise ValueError(f"the stream flag must be true or false, not {value[:40]!r}")
    return flag


def detect_mode(accept: str | Iterable[str] | None, stream: bool | None = None) -> ResponseMode:
    """Return the mode that a request asks for.

    Among named media types of equal weight, STREAM wins. A wildcard, or no header, means BATCH.

    Args:
        accept: the Accept header, or several of them (RFC 9110, section 12.5.1).
        stream: the stream flag. It wins over `accept`: True means STREAM, False means BATCH.

    Raises:
        NotAcceptable: no available media type satisfies the header.
    """
    return negotiate(accept, stream).mode


def negotiate(accept: str | Iterable[str] | None, stream: bool | None = None) -> Negotiated:
    """Return the mode, as `detect_mode` does, and the media type: one that the client accepts."""
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
    """The media ranges of an Accept header with their weights; the first of two equal ones counts.

    The available media types have no parameters (except the charset UTF-8), so strictly a range
    with parameters does not match them. It counts only where it makes an answer more acceptable.
    Parts that are not a media range, or have no valid weight, are ignored.
    """

    def __init__(self, accept: str) -> None:
        self._plain: dict[str, float] = {}
        self._with_parameters: dict[str, float] = {}
        parts = _split(accept[:_MAX_CHARACTERS], ",")
        if len(accept) > _MAX_CHARACTERS:
            parts.pop()  # it may be incomplete
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
        """Return the weight of a media type by its most specific range, and whether it is named."""
        if (q := self._plain.get(media_type)) is not None:
            return q, True
        wildcards = (media_type.partition("/")[0] + "/*", "*/*")
        other = self._with_parameters
        covered = next((self._plain[name] for name in wildcards if name in self._plain), 0.0)
        covered = max(covered, *(other.get(name, 0.0) for name in wildcards))
        named = other.get(media_type, 0.0)
        return (named, True) if named and named >= covered else (covered, False)


def _split(text: str, separator: str) -> list[str]:
    """Split at the separator, except inside quoted strings."""
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
    """Parse a weight: 0 to 1 with up to three decimals (RFC 9110, section 12.4.2); None if invalid.

    The 0 before the point may be missing, as in the default header of Java's HttpURLConnection.
    """
    whole, dot, decimals = text.partition(".")
    if whole not in ("0", "1", "" if decimals else "0") or len(decimals) > 3:
        return None
    if decimals and not (decimals.isascii() and decimals.isdigit()):
        return None
    q = float(f"{whole}{dot}{decimals}")
    return q if q <= 1 else None
