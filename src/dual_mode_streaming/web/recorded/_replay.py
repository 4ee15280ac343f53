"""A recorded stream as a response: its records as events, lines or one batch, from any place on."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import pydantic_core
from pydantic import TypeAdapter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dual_mode_streaming.errors import ItemTooLarge
from dual_mode_streaming.negotiation import Negotiated
from dual_mode_streaming.recordings import (
    Cursor,
    Gone,
    Lost,
    Operation,
    Record,
    Recorded,
    Recordings,
)
from dual_mode_streaming.rendering import ItemCodec
from dual_mode_streaming.sse import RESERVED_EVENTS, ServerSentEvent, dumps
from dual_mode_streaming.stores._base import StoreError, StreamInfo
from dual_mode_streaming.web._batch_sink import Fold
from dual_mode_streaming.web._options import OptionOverrides
from dual_mode_streaming.web._problems import problem_of
from dual_mode_streaming.web._response import DualModeResponse

__all__ = [
    "RecordedOperation",
    "failure_of",
    "location",
    "record_of",
    "recorded_problem",
    "replay",
    "state_of",
]

T = TypeVar("T")

_RECONNECT: Final = ServerSentEvent(retry=1000).encode()
"""What the readers of a recording are told when this server ends: come again, soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedOperation:
    """What is known of a recorded endpoint by those who answer for its streams."""

    operation: Operation
    codec: ItemCodec
    fold: Fold | None
    fold_result: TypeAdapter[Any] | None
    options: OptionOverrides


def record_of(
    codec: ItemCodec, error_event: str, event_bytes: int
) -> Callable[[Any], Record | None]:
    """What makes records of the items that a codec is for.

    An event's own id is left out: in a recording all ids are ours.
    """
    reserved = RESERVED_EVENTS | {error_event}

    def record(item: Any) -> Record | None:
        event = codec.event(item)
        if event is None:
            data, name = codec.named(item)
            made = Record("json", name or "", data)
        elif event.data is None:
            return None
        elif isinstance(event.data, str):
            made = Record("text", event.event or "", event.data.encode())
        else:
            made = Record("event", event.event or "", dumps(event.data))
        if len(made.data) > event_bytes:
            raise ItemTooLarge(len(made.data), event_bytes)
        if made.name in reserved:
            raise ValueError(f"the event name {made.name!r} is reserved; name the event otherwise")
        return made

    return record


def recorded_problem(error: BaseException) -> dict[str, Any]:
    """What is recorded of a failure: the problem, and the pause that it asks for."""
    told = problem_of(error)
    headers: Mapping[str, str] = getattr(error, "headers", None) or {}
    for name, value in headers.items():
        if name.lower() == "retry-after":
            told["retry_after"] = value
    return told


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
    known: RecordedOperation,
    form: Negotiated,
    *,
    after: Cursor,
    headers: Mapping[str, str],
    fails: bool = False,
    lost: str = "",
    status_code: int = 200,
    sets: Response | None = None,
) -> DualModeResponse:
    """The records of a stream after a place, in a negotiated form.

    With `fails`, a stream that failed before its first record is answered by that failure's status;
    `lost` is the cursor, if any, of what is not there, with which the reader came; the others are
    as for a DualModeResponse.
    """
    options = known.options
    error_event = options.get("error_event", "error")
    fold = known.fold
    return DualModeResponse(
        _records(recordings, info, after, fails=fails),
        mode=form,
        codec=_RecordCodec(known.codec),
        frames=lambda: _RecordFrames(error_event, lost),
        fold=None if fold is None else lambda records: fold(_items(records, known.codec)),
        fold_result=known.fold_result,
        headers=headers,
        handles_last_event_id=True,
        status_code=status_code,
        sets=sets,
        **options,
    )


async def _records(
    recordings: Recordings, info: StreamInfo, after: Cursor, *, fails: bool
) -> AsyncGenerator[Recorded | Lost, None]:
    records = recordings.read(info, after)
    first = fails
    try:
        async for record in records:
            if first and isinstance(record, Recorded) and record.record.is_error:
                raise failure_of(record.record)
            first = False
            yield record
    except Gone as gone:
        raise HTTPException(410, str(gone)) from gone
    except StoreError as error:
        raise HTTPException(503, "the stream cannot be read now", {"Retry-After": "1"}) from error
    finally:
        await records.aclose()


def failure_of(end: Record) -> HTTPException:
    """The exception that an end other than `done` is, where it cannot be told as an event."""
    told = pydantic_core.from_json(end.data)
    if end.name == "error":
        wait = told.get("retry_after")
        detail = told.get("detail") or told.get("errors") or told.get("title")
        return HTTPException(
            told.get("status", 500), detail, None if wait is None else {"Retry-After": wait}
        )
    return HTTPException(
        409, f"the stream was {end.name} after {told.get('items', 0)} items; read it as a stream"
    )


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


def _incomplete(lost: Lost) -> HTTPException:
    return HTTPException(410, f"the stream's entries before {lost.earliest} are gone")


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

    heartbeat = b": ping\n"

    def __init__(self, error_event: str, lost: str) -> None:
        self.count = 0
        self._error_event = error_event
        self._lost = lost

    def opening(self, *, retry: int | None = None, reset: Any = None) -> bytes:
        """The reconnection time, and that history is lost, if that is to be told."""
        frames = b"" if retry is None else ServerSentEvent(retry=retry).encode()
        if self._lost:
            reset = {"reason": "not_recorded", "requested": self._lost}
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
