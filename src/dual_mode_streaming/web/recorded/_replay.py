"""A recorded stream as a response: events, lines or one batch, after any cursor."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Final

import pydantic_core
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.negotiation import Negotiated
from dual_mode_streaming.recordings import Cursor, Gone, Lost, Record, Recorded, Recordings
from dual_mode_streaming.rendering import ItemCodec, Representation
from dual_mode_streaming.sse import HEARTBEAT, ServerSentEvent, dumps
from dual_mode_streaming.stores import StoreError, StreamInfo
from dual_mode_streaming.web._response import DualModeResponse
from dual_mode_streaming.web.recorded._operation import RecordedOperation

__all__ = ["failure_of", "location", "replay", "state_of"]

_RECONNECT: Final = ServerSentEvent(retry=1000).encode()
"""What the readers of a recording are told when this server ends: come again, soon."""


def location(request: Request, stream: str) -> str:
    """Where a stream is found, relative to this server's root."""
    return f"{request.scope.get('root_path', '')}/streams/{stream}"


def state_of(info: StreamInfo) -> dict[str, Any]:
    """How it is with a stream, for its reader."""
    items = info.head - (0 if info.state == "running" else 1)
    return {"stream": info.new.stream, "state": info.state, "items": max(0, items)}


def replay(
    recordings: Recordings,
    info: StreamInfo,
    operation: RecordedOperation,
    form: Negotiated,
    *,
    after: Cursor,
    headers: Mapping[str, str],
    raise_first: bool = False,
    unknown: str = "",
    status_code: int = 200,
    injected: Response | None = None,
) -> DualModeResponse:
    """Return the records of a stream after a cursor as a response.

    Args:
        raise_first: answer a stream that failed before its first record by that failure's status.
        unknown: the unknown cursor that the client sent, echoed in `reset`; empty if none.
        headers, status_code, injected: as for a DualModeResponse.
    """
    representation = operation.representation
    error_event = operation.options.get("error_event", "error")
    fold = representation.fold
    return DualModeResponse(
        _records(recordings, info, after, raise_first=raise_first),
        mode=form,
        representation=Representation(
            _RecordCodec(representation.codec),
            None if fold is None else lambda records: fold(_items(records, representation.codec)),
            representation.fold_result,
            lambda: _RecordFrames(error_event, unknown),
        ),
        headers=headers,
        handles_last_event_id=True,
        status_code=status_code,
        injected=injected,
        **operation.options,
    )


async def _records(
    recordings: Recordings, info: StreamInfo, after: Cursor, *, raise_first: bool
) -> AsyncGenerator[Recorded | Lost, None]:
    records = recordings.read(info, after)
    first = raise_first
    try:
        async for record in records:
            if first and isinstance(record, Recorded) and record.record.is_error:
                raise failure_of(record.record)
            first = False
            yield record
    except Gone as gone:
        raise Problem(410, str(gone)) from gone
    except StoreError as error:
        raise Problem(503, "the stream cannot be read now", retry_after=1) from error
    finally:
        await records.aclose()


def failure_of(end: Record) -> HTTPException:
    """Return an end other than `done` as an error, for an answer that has no event for it."""
    body = pydantic_core.from_json(end.data)
    if end.name == "error":
        wait = body.get("retry_after")
        detail = body.get("detail") or body.get("errors") or body.get("title")
        headers = None if wait is None else {"Retry-After": wait}
        return HTTPException(body.get("status", 500), detail, headers)
    items = body.get("items", 0)
    return Problem(409, f"the stream was {end.name} after {items} items; read it as a stream")


async def _items(records: AsyncIterator[Any], codec: ItemCodec) -> AsyncGenerator[Any, None]:
    """The items that records were made of, for a fold."""
    async for record in records:
        if isinstance(record, Lost):
            raise _incomplete(record)
        if record.record.kind != "end":
            yield _item(record.record, codec)
        elif record.record.name != "done":
            raise failure_of(record.record)


def _item(record: Record, codec: ItemCodec) -> Any:
    if record.kind == "text":
        return ServerSentEvent(data=record.data.decode(), event=record.name or None)
    if record.kind == "event":
        return ServerSentEvent(data=pydantic_core.from_json(record.data), event=record.name or None)
    return codec.parsed(record.data)


def _incomplete(lost: Lost) -> Problem:
    return Problem(410, f"the stream's entries before {lost.earliest} are gone")


class _RecordCodec(ItemCodec):
    """Records for a batch or for lines, where an end other than `done` can only be a failure."""

    def __init__(self, codec: ItemCodec) -> None:
        super().__init__(event_types=codec.event_types, options=codec.options)

    def data(self, item: Any) -> bytes | None:
        """The JSON of a record; None of the end. Raises what a failed end is."""
        if isinstance(item, Lost):
            raise _incomplete(item)
        record: Record = item.record
        if record.kind == "end":
            if record.name != "done":
                raise failure_of(record)
            return None
        return dumps(record.data.decode()) if record.kind == "text" else record.data


class _RecordFrames:
    """Records as Server-Sent Events; the end is a record like others, with an id of its own."""

    heartbeat = HEARTBEAT

    def __init__(self, error_event: str, unknown: str) -> None:
        self.count = 0
        self._error_event = error_event
        self._unknown = unknown

    def opening(self, *, retry: int | None = None, reset: Any = None) -> bytes:
        """The reconnection time, and that history is lost, if that is to be told."""
        frames = b"" if retry is None else ServerSentEvent(retry=retry).encode()
        if self._unknown:
            reset = {"reason": "not_recorded", "requested": self._unknown}
            frames += ServerSentEvent(event="reset", data=reset).encode()
        return frames

    def item(self, item: Recorded | Lost) -> bytes:
        """The frame of a record, or of what is lost."""
        if isinstance(item, Lost):
            return ServerSentEvent(event="reset", data=item.as_json()).encode()
        if item.record.kind != "end":
            self.count += 1
        if item.frame is None:
            item.frame = self._rendered(item.record, item.cursor)
        return item.frame

    def _rendered(self, record: Record, cursor: Cursor) -> bytes:
        if record.kind in ("json", "event"):
            line = b"event: %b\n" % record.name.encode() if record.name else b""
            return b"%bid: %b\ndata: %b\n\n" % (line, str(cursor).encode(), record.data)
        name = self._error_event if record.is_error else record.name
        data = record.data.decode()
        return ServerSentEvent(data=data, event=name or None, id=str(cursor)).encode()

    def done(self) -> bytes:
        """Nothing more: the end was a record."""
        return b""

    def failed(self, problem: Mapping[str, Any], *, final: bool = True) -> bytes | None:
        """A hint to come again: the stream itself goes on, or its end can be read again."""
        if problem.get("status") in (410, 400):
            return ServerSentEvent(event=self._error_event, data=dict(problem)).encode()
        return _RECONNECT
