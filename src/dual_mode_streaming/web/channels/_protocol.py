"""The words of the Durable Streams protocol: offsets, cursors, headers, the settings of a channel.

https://github.com/durable-streams/durable-streams/blob/main/PROTOCOL.md
"""

import json
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

import pydantic_core
from starlette.requests import Request

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.recordings import Cursor, StreamRecord
from dual_mode_streaming.sse import dumps, escape_line_separators
from dual_mode_streaming.stores import StreamInfo
from dual_mode_streaming.web.recorded._operation import HEADERS, RAISED

JSON: Final = "application/json"
SECURITY: Final = {
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "cross-origin",
}
"""The headers of every answer, refusals too."""

NO_STORE: Final = {"cache-control": "no-store"}

_OFFSET: Final = re.compile(r"(\d{16})_(\d{16})", re.ASCII)
_NUMBER: Final = re.compile(r"0|[1-9]\d{0,15}", re.ASCII)
_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_CURSOR_EPOCH: Final = 1_728_432_000  # 9 October 2024
_CURSOR_INTERVAL: Final = 20


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """The settings of a channel that was created over HTTP.

    Attributes:
        content_type: of its messages; JSON for a channel of Python.
        ttl: the time in seconds after the last use at which it is removed.
        expires_at: the time at which it is removed.
    """

    content_type: str = JSON
    ttl: int | None = None
    expires_at: str | None = None

    @classmethod
    def of_request(cls, request: Request) -> "ChannelConfig":
        """Return the settings in a request. Raises Problem: 400 if one is wrong."""
        headers = request.headers
        ttl, expires_at = headers.get("stream-ttl"), headers.get("stream-expires-at")
        if ttl is not None and expires_at is not None:
            raise Problem(400, "Stream-TTL and Stream-Expires-At exclude each other")
        kind = headers.get("content-type") or "application/octet-stream"
        seconds = None if ttl is None else number_of(ttl, "Stream-TTL")
        config = cls(kind, seconds, expires_at)
        config.lifetime()
        return config

    @classmethod
    def of(cls, info: StreamInfo) -> "ChannelConfig":
        """Return the settings of a channel that exists; those of a recording are the defaults."""
        return cls(**json.loads(info.new.request)) if is_made_over_http(info) else cls()

    def pack(self) -> bytes:
        """Return the settings as bytes, for the store."""
        return dumps(asdict(self))

    def lifetime(self) -> float | None:
        """Return the time in seconds until the removal; None for no removal."""
        if self.expires_at is None:
            return None if self.ttl is None else max(self.ttl, 0.001)
        try:
            if not _TIME.fullmatch(self.expires_at):
                raise ValueError("no RFC 3339")
            when = datetime.fromisoformat(self.expires_at.upper())
        except ValueError:
            raise Problem(
                400,
                f"Stream-Expires-At must be as 2030-01-31T12:00:00Z, not {self.expires_at!r:.60}",
            ) from None
        return max(when.timestamp() - time.time(), 0.001)

    @property
    def media_type(self) -> str:
        """The content type without its parameters."""
        return media_type_of(self.content_type)

    @property
    def is_json(self) -> bool:
        """Whether messages are JSON values."""
        return self.media_type == JSON

    @property
    def is_text(self) -> bool:
        """Whether messages can be sent as text."""
        return self.is_json or self.media_type.startswith("text/")

    def matches(self, other: "ChannelConfig") -> bool:
        """Return whether a PUT with these settings finds what it wants to create."""
        return (self.media_type, self.ttl, self.expires_at) == (
            *(other.media_type, other.ttl, other.expires_at),
        )

    def records(self, body: bytes) -> list[StreamRecord]:
        """Return the messages in a body. JSON is flattened by one level.

        Raises:
            Problem: 400 if it is not JSON.
        """
        if not self.is_json:
            return [StreamRecord("text", "", body)] if body else []
        try:
            value = pydantic_core.from_json(body, allow_inf_nan=False)
        except ValueError as error:
            raise Problem(400, f"the body is not JSON: {error}"[:200]) from None
        values = value if isinstance(value, list) else [value]
        return [
            StreamRecord("json", "", escape_line_separators(pydantic_core.to_json(each)))
            for each in values
        ]

    def joined(self, messages: Sequence[bytes]) -> bytes:
        """Return messages as the body of an answer."""
        return b"[%b]" % b",".join(messages) if self.is_json else b"".join(messages)


def media_type_of(content_type: str) -> str:
    """Return a content type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def number_of(text: str, header: str) -> int:
    """Return a whole number in a header. Raises Problem: 400 if it is none below 2^53."""
    if not _NUMBER.fullmatch(text) or (number := int(text)) >= 2**53:
        raise Problem(400, f"{header} must be a whole number below 2^53, not {text!r:.40}")
    return number


def tail_of(info: StreamInfo) -> Cursor:
    """Return the cursor of the last message: see `message_of`."""
    is_message = info.state == "running" or (info.state != "done" and not _is_channel(info))
    return Cursor.at(info, info.head - (not is_message))


def message_of(record: StreamRecord, info: StreamInfo) -> bytes | None:
    """Return a record as a message; None for the end of a channel, or of a complete recording.

    The protocol knows only one end. So a recording that ended in another way has a last message,
    such as `{"error": …}` or `{"cancelled": …}`.
    """
    if record.kind == "end":
        if record.name == "done" or _is_channel(info):
            return None
        data = pydantic_core.from_json(record.data)
        for name in (HEADERS, RAISED):  # which only an answer of the endpoint needs
            data.pop(name, None)
        return dumps({record.name: data})
    if record.kind == "text" and not _is_channel(info):
        return dumps(record.data.decode())
    return record.data


def is_made_over_http(info: StreamInfo) -> bool:
    """Return whether a channel was created over HTTP, with settings."""
    return _is_channel(info) and bool(info.new.request)


def _is_channel(info: StreamInfo) -> bool:
    return info.new.lifetime is not None


def offset_of(cursor: Cursor) -> str:
    """Return a cursor as an offset. Offsets of a channel sort as their texts."""
    return f"{cursor.generation:016d}_{cursor.sequence:016d}"


def cursor_shown(text: str, stream: str) -> Cursor | None:
    """Return a `Last-Event-ID` as a cursor; it may be an offset. None if it is neither."""
    if (found := _OFFSET.fullmatch(text)) is not None:
        return Cursor(stream, int(found[1]), int(found[2]))
    return Cursor.parse(text)


def position_of(offset: str | None, info: StreamInfo) -> Cursor:
    """Return the cursor of an offset; no offset and `-1` are the start, `now` is the end.

    Raises:
        Problem: 400 if it is no offset, 410 if what follows it is no longer kept.
    """
    if offset is None or offset == "-1":
        return Cursor.at(info, info.earliest - 1)
    if offset == "now":
        return tail_of(info)
    if (found := _OFFSET.fullmatch(offset)) is None:
        raise Problem(400, f"{offset!r:.60} is not an offset of this channel")
    cursor = Cursor(info.new.stream, int(found[1]), int(found[2]))
    if not info.has(cursor.generation, cursor.sequence) or cursor.sequence + 1 < info.earliest:
        raise Problem(410, "what follows the offset is no longer kept; begin with offset=-1")
    return cursor


def next_cursor(shown: str | None) -> str:
    """Return the `Stream-Cursor` of a live answer: it grows, so that no cache answers for ever."""
    now = int(time.time() - _CURSOR_EPOCH) // _CURSOR_INTERVAL
    if shown is not None and _NUMBER.fullmatch(shown) and int(shown) >= now:
        now = int(shown) + 1 + secrets.randbelow(180)
    return str(now)


def headers_at(
    position: Cursor, *, up_to_date: bool = False, closed: bool = False
) -> dict[str, str]:
    """Return the headers that say where in the channel an answer ends."""
    headers = {"stream-next-offset": offset_of(position)}
    if up_to_date:
        headers["stream-up-to-date"] = "true"
    if closed:
        headers["stream-closed"] = "true"
    return headers
