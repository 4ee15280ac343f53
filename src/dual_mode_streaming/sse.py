"""Server-Sent Events: the event, its encoding, and the decoder. Nothing here does I/O.

The format is that of WHATWG (HTML Living Standard, section 9.2, "Server-sent events"). Where the
standard leaves something open, a comment says what is done here.
"""

import re
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import pydantic_core

from dual_mode_streaming.errors import EventTooLarge

__all__ = [
    "END_STATES",
    "HEARTBEAT",
    "PASSING",
    "RESERVED_EVENTS",
    "EndState",
    "EventDecoder",
    "ServerSentEvent",
    "State",
    "dumps",
    "escape_line_separators",
]

EndState = Literal["done", "error", "cancelled", "interrupted"]
"""How a stream ended. It is also the name of the last event."""

State = Literal["running", EndState]
"""The state of a recorded stream: running, or how it ended."""

END_STATES: Final = frozenset[str](get_args(EndState))
"""The names of the events that end a stream."""

RESERVED_EVENTS: Final = END_STATES | {"reset"}
"""The event names that have a meaning of their own; an item must not use them."""

PASSING: Final = frozenset({429, 502, 503, 504})
"""The statuses of failures that may pass: the same request may be tried again."""

HEARTBEAT: Final = b": ping\n"
"""The comment that is sent while a source is silent. It ends in a single LF, since after a blank
line strict clients see an empty event."""

_LINE_END: Final = re.compile(r"\r\n|\r|\n")  # str.splitlines would also split at U+2028
_NOT_IN_FIELD: Final = re.compile(r"[\r\n\0]")
_BOM: Final = b"\xef\xbb\xbf"
_RETRY_DIGITS: Final = 15  # more may not fit the number type of a client


def dumps(value: Any) -> bytes:
    """Return any value as compact JSON on one line.

    Models are serialised by alias; NaN and infinities become null.

    Raises:
        PydanticSerializationError: the value cannot be serialised.
    """
    raw = pydantic_core.to_json(value, by_alias=True, inf_nan_mode="null")
    return raw if raw.isascii() else escape_line_separators(raw)


def escape_line_separators(raw: bytes) -> bytes:
    """Return JSON with U+2028, U+2029 and U+0085 escaped.

    WHATWG does not treat them as line ends, but clients that use `str.splitlines` do and lose text
    (LiteLLM, for example). In JSON they only occur inside strings, so the escape is always valid.
    """
    if b"\xe2\x80" in raw:
        raw = raw.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return raw.replace(b"\xc2\x85", b"\\u0085")


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event, or only a comment or a reconnection time.

    Args:
        data: a str is sent as it is, any other value as JSON. With None there is no data, and
            clients do not dispatch an event.
        event: the name of the event. None and the empty string mean "message".
        id: the id that a client sends as Last-Event-ID when it reconnects. "" clears it.
        retry: the reconnection time in milliseconds.
        comment: a text that clients ignore. It may have several lines.

    Raises:
        ValueError: a field cannot be encoded, for example an event name with a line end.
    """

    data: Any = None
    event: str | None = None
    id: str | None = None
    retry: int | None = None
    comment: str | None = None

    def __post_init__(self) -> None:
        for name in ("event", "id", "comment"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise ValueError(f"{name} must be a str, not {value!r}; use str({value!r})")
            if value is not None and type(value) is not str:  # an enum may format in another way
                object.__setattr__(self, name, value := str.__str__(value))
            if value is not None and not _encodable(value):
                raise ValueError(f"{name} has a lone surrogate, which UTF-8 cannot encode")
        if isinstance(self.data, str) and not _encodable(self.data):
            raise ValueError("data has a lone surrogate, which UTF-8 cannot encode")
        if self.event is not None and _NOT_IN_FIELD.search(self.event):
            raise ValueError(f"event must be one line without a NUL, not {self.event!r}")
        if self.id is not None and _NOT_IN_FIELD.search(self.id):
            raise ValueError(f"id must be one line without a NUL, not {self.id!r}")
        retry = self.retry
        if retry is not None and (type(retry) is not int or retry < 0):
            raise ValueError(f"retry must be a whole number of milliseconds from 0, not {retry!r}")
        if retry is not None and retry >= 10**_RETRY_DIGITS:
            raise ValueError(f"retry has at most {_RETRY_DIGITS} digits of milliseconds")

    def encode(self) -> bytes:
        """Return the frame of the event.

        A frame without an event (a comment, a reconnection time) ends in a single line end. After a
        blank line, httpx-sse and the SDKs of OpenAI and Anthropic would dispatch an empty event.

        Raises:
            PydanticSerializationError: the data cannot be serialised.
        """
        lines: list[str] = []
        if self.comment is not None:
            lines += [f": {line}" for line in _LINE_END.split(self.comment)]
        if self.event is not None:
            lines.append(f"event: {self.event}")
        if self.id is not None:
            lines.append(f"id: {self.id}")
        if self.retry is not None:
            lines.append(f"retry: {self.retry}")
        if self.data is not None:
            data = self.data if isinstance(self.data, str) else dumps(self.data).decode()
            lines += [f"data: {line}" for line in _LINE_END.split(data)]
        if self.data is not None or self.event is not None or self.id is not None:
            lines.append("")
        return "".join(f"{line}\n" for line in lines).encode()


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class EventDecoder:
    """Decode bytes into the events that WHATWG's parser dispatches, wherever the bytes are cut.

    The `data` of an event is the text as it arrived. Its `event` is None if no name was given (the
    standard then says "message"). Its `id` is the current last event id, None if there never was
    one. Its `retry` is the one in its own block. Comments and unknown fields are dropped. An event
    that no blank line ends is not dispatched.

    Args:
        max_event_bytes: the largest size of an event, in bytes; None for no limit. The current line
            counts, whatever it is; earlier comments, `retry` and unknown fields do not.
        last_event_id: the id in force at the beginning, of an earlier connection. WHATWG keeps it
            over reconnections.

    Attributes:
        last_event_id: the id that a client sends as Last-Event-ID when it reconnects; None if there
            never was one.
        retry: the latest reconnection time in milliseconds; None if there was none.
    """

    def __init__(
        self, max_event_bytes: int | None = 16 * 1024 * 1024, *, last_event_id: str | None = None
    ) -> None:
        self.last_event_id = last_event_id
        self.retry: int | None = None
        self._limit = max_event_bytes
        self._too_large = False
        self._at_start = True
        self._after_cr = False
        self._partial: list[bytes] = []  # the pieces of the current line
        self._partial_size = 0
        self._id = last_event_id
        self._begin_block()

    def _begin_block(self) -> None:
        self._in_block = False  # the block has a field of an event
        self._data: list[str] = []
        self._event = ""
        self._block_retry: int | None = None
        self._block_size = 0

    @property
    def in_event(self) -> bool:
        """Whether the bytes end inside an event or a line, which the standard discards."""
        return bool(self._partial) or self._in_block or self._too_large

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Return the events that `chunk` completes.

        Raises:
            EventTooLarge: an event is larger than `max_event_bytes`. If the same chunk completes
                events before it, they are returned, and the next call raises. So does every later
                call.
        """
        events: list[ServerSentEvent] = []
        try:
            self._feed(chunk, events)
        except EventTooLarge:
            if not events:
                raise
        return events

    def _feed(self, chunk: bytes, events: list[ServerSentEvent]) -> None:
        self._check_size(0)
        if not chunk:
            return
        if self._at_start:
            chunk = b"".join((*self._partial, chunk))
            self._partial.clear()
            if _BOM.startswith(chunk) and len(chunk) < len(_BOM):
                self._partial.append(chunk)
                return
            self._at_start = False
            chunk = chunk.removeprefix(_BOM)
        if not chunk:
            return
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
        self._after_cr = chunk.endswith(b"\r")
        # bytes.splitlines splits only at CR, LF and CRLF.
        lines = chunk.splitlines()
        rest = lines.pop() if lines and chunk[-1] not in b"\r\n" else b""
        if lines and self._partial:
            lines[0] = b"".join((*self._partial, lines[0]))
            self._partial.clear()
            self._partial_size = 0
        for line in lines:
            if line:
                self._take_field(line)
            else:
                self._dispatch(events)
        if rest:
            self._partial.append(rest)
            self._partial_size += len(rest)
            self._check_size(self._partial_size)

    def _check_size(self, line: int) -> None:
        """Raise EventTooLarge if the event and its current line, of `line` bytes, are too large."""
        if self._limit is None:
            return
        if self._too_large or self._block_size + line > self._limit:
            self._too_large = True
            self._partial.clear()
            self._begin_block()
            raise EventTooLarge(self._limit)

    def _take_field(self, line: bytes) -> None:
        self._check_size(len(line))
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            self._data.append(value.decode("utf-8", "replace"))
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id":
            if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
        else:  # the name of a comment is empty; bytes.isdigit accepts ASCII digits only
            if name == b"retry" and value.isdigit() and len(value.lstrip(b"0")) <= _RETRY_DIGITS:
                self.retry = self._block_retry = int(value.lstrip(b"0") or b"0")
            return
        self._in_block = True
        self._block_size += len(line)

    def _dispatch(self, events: list[ServerSentEvent]) -> None:
        self.last_event_id = self._id  # even if the block has no data
        if self._data:
            data = self._data[0] if len(self._data) == 1 else "\n".join(self._data)
            event = _decoded(data, self._event or None, self._id, self._block_retry)
            events.append(event)
        self._begin_block()


def _decoded(data: str, name: str | None, id: str | None, retry: int | None) -> ServerSentEvent:
    """Return a decoded event. It skips the checks of `ServerSentEvent`, which cannot fail here."""
    event = object.__new__(ServerSentEvent)
    put = object.__setattr__
    put(event, "data", data)
    put(event, "event", name)
    put(event, "id", id)
    put(event, "retry", retry)
    put(event, "comment", None)
    return event
