"""Server-Sent Events as bytes: one class for an event, its encoding, and the decoder.

The format is WHATWG's (HTML Living Standard, section 9.2, "Server-sent events"); what it leaves
open is said where it is decided. Nothing here does any I/O.
"""

import re
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import pydantic_core

from dual_mode_streaming.errors import EventTooLarge

__all__ = [
    "END_STATES",
    "HEARTBEAT",
    "RESERVED_EVENTS",
    "EndState",
    "EventDecoder",
    "ServerSentEvent",
    "State",
    "dumps",
    "escape_line_separators",
]

EndState = Literal["done", "error", "cancelled", "interrupted"]
"""How a stream ended; also the name of its last event."""

State = Literal["running", EndState]
"""The state of a recorded stream: it runs, or it has ended."""

END_STATES: Final = frozenset[str](get_args(EndState))
"""The names of the events that end a stream."""

RESERVED_EVENTS: Final = END_STATES | {"reset"}
"""Event names with a meaning of their own in our streams; an item must not use one."""

HEARTBEAT: Final = b": ping\n"
"""The comment that is sent while a source is silent. It ends in one LF: a blank line would make
strict clients see an empty event."""

_LINE_END: Final = re.compile(r"\r\n|\r|\n")  # str.splitlines would also split at U+2028
_ID_TABOO: Final = re.compile(r"[\r\n\0]")
_BOM: Final = b"\xef\xbb\xbf"
_RETRY_DIGITS: Final = 15  # more are no time, and may be no number that a client can hold


def dumps(value: Any) -> bytes:
    """Any value as compact JSON on one line; models by alias, NaN and infinities as null.

    Raises PydanticSerializationError if there is no JSON for it.
    """
    raw = pydantic_core.to_json(value, by_alias=True, inf_nan_mode="null")
    return raw if raw.isascii() else escape_line_separators(raw)


def escape_line_separators(raw: bytes) -> bytes:
    """JSON with U+2028, U+2029 and U+0085 escaped.

    They are no line ends to WHATWG, but clients that split lines by `str.splitlines` lose text on
    them (LiteLLM does). In JSON they can only stand inside strings, so the escape is always valid.
    """
    if b"\xe2\x80" in raw:
        raw = raw.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return raw.replace(b"\xc2\x85", b"\\u0085")


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event, or a comment or reconnection time that goes along without one.

    data: a str goes out as it is, any other value as JSON; None for no data, and then no client
        dispatches an event.
    event: the event's name; None, and as the standard has it the empty string, mean "message".
    id: what a client shows as Last-Event-ID when it comes again; "" clears it.
    retry: the reconnection time in milliseconds.
    comment: ignored by clients; may have several lines.

    Raises ValueError for what cannot be framed, and says why.
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
            if value is not None and type(value) is not str:  # an enum, say, that formats otherwise
                object.__setattr__(self, name, value := str.__str__(value))
            if value is not None and not _encodable(value):
                raise ValueError(f"{name} has a lone surrogate, which UTF-8 cannot encode")
        if isinstance(self.data, str) and not _encodable(self.data):
            raise ValueError("data has a lone surrogate, which UTF-8 cannot encode")
        if self.event is not None and _LINE_END.search(self.event):
            raise ValueError(f"event must be one line, not {self.event!r}")
        if self.id is not None and _ID_TABOO.search(self.id):
            raise ValueError(f"id must be one line without a NUL, not {self.id!r}")
        retry = self.retry
        if retry is not None and (type(retry) is not int or retry < 0):
            raise ValueError(f"retry must be a whole number of milliseconds from 0, not {retry!r}")
        if retry is not None and retry >= 10**_RETRY_DIGITS:
            raise ValueError(f"retry has at most {_RETRY_DIGITS} digits of milliseconds")

    def encode(self) -> bytes:
        """The event's frame.

        What no client dispatches (a comment, a reconnection time) ends in a single line end: after
        a blank line, the decoders of httpx-sse and of the openai and anthropic SDKs would make an
        empty event of it. Raises PydanticSerializationError if there is no JSON for the data.
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
    """Bytes in, events out, exactly as WHATWG's parser dispatches them, wherever the bytes are cut.

    An event's `data` is the text as it came, its `event` None where no name was given (the standard
    calls it "message"), its `id` the last event id in force, None if there never was one; `retry`
    is that of its own block. Comments and unknown fields are dropped. An event that is not ended by
    a blank line is never dispatched.

    `max_event_bytes` bounds the lines of an event together with the line that is read, whatever it
    is; None for no bound. Comments, `retry` and unknown fields make no event larger.
    """

    def __init__(self, max_event_bytes: int | None = 16 * 1024 * 1024) -> None:
        self.last_event_id: str | None = None
        """What a client shows as Last-Event-ID when it comes again; None if there never was one."""
        self.retry: int | None = None
        """The reconnection time last told, in milliseconds."""
        self._limit = max_event_bytes
        self._too_large = False
        self._at_start = True
        self._after_cr = False
        self._partial: list[bytes] = []  # the line that is not ended yet, in pieces
        self._partial_size = 0
        self._id: str | None = None
        self._begin_block()

    def _begin_block(self) -> None:
        self._in_block = False  # a field of an event has come
        self._data: list[str] = []
        self._event = ""
        self._block_retry: int | None = None
        self._block_size = 0

    @property
    def in_event(self) -> bool:
        """Whether the bytes so far end inside an event or a line, which the standard discards."""
        return bool(self._partial) or self._in_block or self._too_large

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that `chunk` completes.

        Raises EventTooLarge if an event passes `max_event_bytes`, and at every call after that. The
        events before it are given first, and the error raised at the next call.
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
        # bytes.splitlines splits at CR, LF and CRLF and at nothing else.
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
        """Raise if the event is too large with the line of so many bytes, ended or not."""
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
        else:  # a comment has an empty name; isdigit is ASCII's
            if name == b"retry" and value.isdigit() and len(value.lstrip(b"0")) <= _RETRY_DIGITS:
                self.retry = self._block_retry = int(value.lstrip(b"0") or b"0")
            return
        self._in_block = True
        self._block_size += len(line)

    def _dispatch(self, events: list[ServerSentEvent]) -> None:
        self.last_event_id = self._id  # also of a block without data
        if self._data:
            data = self._data[0] if len(self._data) == 1 else "\n".join(self._data)
            event = _decoded(data, self._event or None, self._id, self._block_retry)
            events.append(event)
        self._begin_block()


def _decoded(data: str, name: str | None, id: str | None, retry: int | None) -> ServerSentEvent:
    """An event from the wire, which cannot hold what `ServerSentEvent` checks for."""
    event = object.__new__(ServerSentEvent)
    put = object.__setattr__
    put(event, "data", data)
    put(event, "event", name)
    put(event, "id", id)
    put(event, "retry", retry)
    put(event, "comment", None)
    return event
