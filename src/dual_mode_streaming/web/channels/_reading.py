"""GET of a channel: what there is, long-polling, and two kinds of event streams."""

import base64
import functools
import re
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from dual_mode_streaming.channels._log import ChannelLog
from dual_mode_streaming.errors import Problem
from dual_mode_streaming.negotiation import Negotiated, ResponseMode
from dual_mode_streaming.recordings import Cursor, Gap, Recordings, StoredRecord
from dual_mode_streaming.rendering import ItemCodec, Representation
from dual_mode_streaming.sse import HEARTBEAT, ServerSentEvent, dumps
from dual_mode_streaming.stores import StreamInfo
from dual_mode_streaming.web._channel_source import events_of, lines_of, rendered
from dual_mode_streaming.web._cursors import cursor_of
from dual_mode_streaming.web._headers import none_match
from dual_mode_streaming.web._response import DualModeResponse
from dual_mode_streaming.web._waiting import wait_while
from dual_mode_streaming.web.channels._protocol import (
    JSON,
    NO_STORE,
    SECURITY,
    ChannelConfig,
    cursor_shown,
    headers_at,
    message_of,
    next_cursor,
    offset_of,
    position_of,
    tail_of,
)

_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_EVENTS: Final = Negotiated(ResponseMode.STREAM, "text/event-stream")
LONG_POLL: Final = 20.0
"""The time in seconds that a long poll waits."""


async def read(request: Request, recordings: Recordings, info: StreamInfo) -> Response:
    """Answer a GET of a channel or a recording in the protocol's terms: `?offset=` and `?live=`."""
    live = request.query_params.get("live")
    offsets = request.query_params.getlist("offset")
    if len(offsets) > 1 or live not in (None, "long-poll", "sse"):
        raise Problem(400, "live must be long-poll or sse, and offset be there at most once")
    offset = offsets[0] if offsets else None
    if live is not None and offset is None:
        raise Problem(400, f"live={live} needs an offset; offset=-1 is the start")
    position = position_of(offset, info)
    shown = request.query_params.get("cursor")
    if live == "sse":
        return _sse(recordings, info, position, shown)
    if live == "long-poll":
        return await _long_poll(request, recordings, info, position, shown)
    if offset == "now":
        headers = _at(info, position) | NO_STORE
        return Response(ChannelConfig.of(info).joined(()), 200, headers)
    response = await _catch_up(recordings, info, position)
    if none_match(request, response.headers["etag"]):
        headers = {"etag": response.headers["etag"]}
        return Response(status_code=304, headers=headers)
    return response


def _at(info: StreamInfo, position: Cursor) -> dict[str, str]:
    """Return the headers of an answer that ends at a position."""
    is_tail = position.sequence >= tail_of(info).sequence
    headers = headers_at(position, up_to_date=is_tail, closed=is_tail and info.state != "running")
    return headers | {"content-type": ChannelConfig.of(info).content_type}


async def _catch_up(recordings: Recordings, info: StreamInfo, after: Cursor) -> Response:
    stream, end, messages = info.new.stream, after, []
    for entry in await recordings.store.read(stream, after.sequence):
        stored = StoredRecord.of(stream, entry)
        if (message := message_of(stored.record, info)) is not None:
            messages.append(message)
            end = stored.cursor
        if stored.record.kind == "end" and info.state == "running":  # it was closed meanwhile
            info = await recordings.store.info(stream) or info
    headers = _at(info, end) | {"cache-control": "private, no-cache"}
    closed = "c" if "stream-closed" in headers else ""
    headers["etag"] = f'"{stream[:8]}:{offset_of(after)}:{offset_of(end)}{closed}"'
    return Response(ChannelConfig.of(info).joined(messages), 200, headers)


async def _long_poll(
    request: Request, recordings: Recordings, info: StreamInfo, after: Cursor, shown: str | None
) -> Response:
    cursor = {"stream-cursor": next_cursor(shown)}

    async def until_more() -> None:
        follow = recordings.read(info, after)
        try:
            await anext(follow, None)
        finally:
            await follow.aclose()

    if info.state == "running" and after.sequence >= info.head:
        await wait_while(request, LONG_POLL, until_more())
        found = await recordings.store.info(info.new.stream)
        if found is None or found.expired:
            raise Problem(404, "it was deleted")
        info = found
    if after.sequence >= tail_of(info).sequence:
        return Response(status_code=204, headers=_at(info, after) | cursor | NO_STORE)
    response = await _catch_up(recordings, info, after)
    response.headers.update(cursor)
    return response


def _sse(recordings: Recordings, info: StreamInfo, after: Cursor, shown: str | None) -> Response:
    config = ChannelConfig.of(info)
    headers = {"content-type": "text/event-stream", "cache-control": "no-cache", **SECURITY}
    if not config.is_text:
        headers["stream-sse-data-encoding"] = "base64"
    return DualModeResponse(
        _positions(recordings, info, after),
        mode=_EVENTS,
        representation=Representation(ItemCodec(), frames=lambda: ControlFrames(config, shown)),
        headers=headers,
        handles_last_event_id=True,
    )


async def _positions(
    recordings: Recordings, info: StreamInfo, after: Cursor
) -> AsyncGenerator[tuple[bytes | None, Cursor, bool, bool], None]:
    """Yield each message, its cursor, whether it was the newest, and whether that is the end."""
    head = tail_of(info).sequence
    if after.sequence >= head and info.state == "running":
        yield None, after, True, False
    follow = recordings.read(info, after)
    try:
        async for record in follow:
            if isinstance(record, Gap):
                raise Problem(410, "what follows is no longer kept")
            message = message_of(record.record, info)
            if message is not None:
                after = record.cursor
                yield message, after, after.sequence >= head, False
        yield None, after, True, True
    finally:
        await follow.aclose()


class ControlFrames:
    """The messages of a channel as `data` events, each with a `control` event (see `Frames`)."""

    heartbeat = HEARTBEAT

    def __init__(self, config: ChannelConfig, shown: str | None) -> None:
        self.count = 0
        self._config = config
        self._cursor = next_cursor(shown)

    def opening(self, *, retry: int | None = None, reset: Any = None) -> bytes:
        """Return nothing: offsets are told by the events."""
        return b""

    def item(self, item: tuple[bytes | None, Cursor, bool, bool]) -> bytes:
        """Return the events of a message, or of a position."""
        data, cursor, is_newest, is_end = item
        control: dict[str, Any] = {"streamNextOffset": offset_of(cursor)}
        control |= {"streamClosed": True} if is_end else {"streamCursor": self._cursor}
        if is_newest:
            control["upToDate"] = True
        frame = b"event: control\ndata:%b\n\n" % dumps(control)
        if data is None:
            return frame
        self.count += 1
        return b"event: data\n%b\n%b" % (self._data(data), frame)

    def _data(self, data: bytes) -> bytes:
        if self._config.is_json:
            return b"data:[%b]\n" % data
        lines = _LINE_END.split(text_of(data, self._config))
        return "".join(f"data:{' ' * line.startswith(' ')}{line}\n" for line in lines).encode()

    def done(self) -> bytes:
        """Return nothing: the end was a control event."""
        return b""

    def failed(self, problem: Mapping[str, Any], *, final: bool = True) -> bytes:
        """Return nothing: the client reads on from its offset, and is told then."""
        return b""


def text_of(data: bytes, config: ChannelConfig) -> str:
    """Return a message as text: base64, if its type is none."""
    if config.is_text:
        return data.decode("utf-8", "replace")
    return base64.b64encode(data).decode()


class _Messages(DualModeResponse):
    """The messages of a channel; events go on in the next answer, after their cursor."""

    continues = True


def plain(request: Request, log: ChannelLog, info: StreamInfo, form: Negotiated) -> Response:
    """Return the messages with cursors as ids, as everywhere: events, lines or a batch."""
    config = ChannelConfig.of(info)
    if form.mode is not ResponseMode.STREAM and not config.is_json:
        raise Problem(406, f"the messages are {config.content_type}: ask for them as events")
    if form.mode is ResponseMode.STREAM:
        shown = cursor_of(request.scope)
        frame = rendered if config.is_json else functools.partial(_text_event, config=config)
        items = events_of(log, log.follow, shown, cursor_shown(shown, log.stream), frame)
    else:
        records = log.kept(None) if form.mode is ResponseMode.BATCH else log.follow(None)
        items = lines_of(records, ItemCodec())
    return _Messages(
        items,
        mode=form,
        headers=SECURITY,
        handles_last_event_id=True,
    )


def _text_event(record: StoredRecord, config: ChannelConfig) -> ServerSentEvent:
    return ServerSentEvent(data=text_of(record.record.data, config), id=str(record.cursor))


def wants_plain(request: Request, form: Negotiated | None) -> bool:
    """Return whether a GET asks for events, lines or a batch, and not in the protocol's terms."""
    if form is None or {"offset", "live"} & request.query_params.keys():
        return False
    return form.mode is not ResponseMode.BATCH or JSON in request.headers.get("accept", "")
