"""The response of a recorded stream after a cursor: Server-Sent Events, lines or one batch."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any, Final

import pydantic_core
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.negotiation import Negotiated
from dual_mode_streaming.recordings import Cursor, Gap, Recordings, StoredRecord, StreamRecord
from dual_mode_streaming.rendering import ItemCodec, Representation
from dual_mode_streaming.sse import HEARTBEAT, ServerSentEvent, dumps
from dual_mode_streaming.stores import StreamInfo
from dual_mode_streaming.web._response import DualModeResponse
from dual_mode_streaming.web.recorded._operation import HEADERS, RAISED, RecordedOperation

_RECONNECT: Final = ServerSentEvent(retry=1000).encode()
"""The end of an event stream that its client can continue after one second."""


def state_of(info: StreamInfo) -> dict[str, Any]:
    """Return the state of a stream as JSON; see `STATE`."""
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
    raised: Sequence[BaseException] = (),
    unknown: str = "",
    status_code: int = 200,
    injected: Response | None = None,
) -> DualModeResponse:
    """Return the records of a stream after a cursor as a response.

    Args:
        recordings: where the stream is.
        info: its state.
        operation: what was recorded, and how it is represented.
        form: the form of the answer.
        after: the cursor.
        headers: as for a DualModeResponse.
        raise_first: answer a stream that failed before its first record with the status of that
            failure.
        raised: where the exception that ended the generator is found, if it runs for this request:
            the app's handlers get it, as if nothing had been recorded.
        unknown: the unknown cursor that the client sent, echoed in `reset`; empty if none.
        status_code: as for a DualModeResponse.
        injected: as for a DualModeResponse.
    """
    representation = operation.representation
    codec, fold = representation.codec, representation.fold
    error_event = operation.options["error_event"]
    return DualModeResponse(
        recordings.read(info, after),
        mode=form,
        representation=Representation(
            _RecordCodec(codec, raised),
            None if fold is None else lambda records: fold(_items(records, codec, raised)),
            representation.fold_result,
            lambda: _RecordFrames(error_event, unknown, raised if raise_first else None),
        ),
        headers=headers,
        handles_last_event_id=True,
        status_code=status_code,
        injected=injected,
        **operation.options,
    )


async def _items(
    records: AsyncIterator[StoredRecord | Gap], codec: ItemCodec, raised: Sequence[BaseException]
) -> AsyncGenerator[Any, None]:
    """Yield the items that were recorded, for a fold. Raises as `_checked`."""
    async for stored in records:
        record = _checked(stored, raised)
        if record.kind == "text":
            yield ServerSentEvent(data=record.data.decode(), event=record.name or None)
        elif record.kind == "event":
            data = pydantic_core.from_json(record.exact or record.data)
            yield ServerSentEvent(data=data, event=record.name or None)
        elif record.kind == "json":
            yield codec.parsed(record.exact or record.data)


def _checked(stored: StoredRecord | Gap, raised: Sequence[BaseException]) -> StreamRecord:
    """Return a record of an answer that must be complete.

    Raises:
        Problem: there is a gap before it, or it is an end other than `done`.
    """
    if isinstance(stored, Gap):
        raise Problem(410, f"the stream has no records before {stored.earliest} any more")
    record = stored.record
    if record.kind == "end" and record.name != "done":
        raise failure_of(record, raised)
    return record


def failure_of(end: StreamRecord, raised: Sequence[BaseException]) -> BaseException:
    """Return an end other than `done` as an error: what was raised or recorded, or a 409."""
    if end.is_error and raised:
        return raised[0]
    body = pydantic_core.from_json(end.data)
    if end.is_error:
        headers = MutableHeaders()
        for name, value in body.pop(HEADERS, ()):
            headers.append(name, value)
        status = body.pop("status", 500)
        if RAISED in body:
            return HTTPException(status, body[RAISED], headers)
        detail = body.pop("detail", None) or body.get("errors")
        for name in ("items", "retry_after"):  # of the stream; and among the headers
            body.pop(name, None)
        return Problem(status, detail, headers=headers, **body)
    items = body.get("items", 0)
    return Problem(409, f"the stream was {end.name} after {items} items; read it as a stream")


class _RecordCodec(ItemCodec):
    """The records of a stream as the elements of a batch, or as lines.

    Their JSON was validated when it was recorded, so it is not made again.
    """

    def __init__(self, codec: ItemCodec, raised: Sequence[BaseException]) -> None:
        super().__init__()
        self._raised = raised
        self.folded = codec.folded  # type: ignore[method-assign]

    def data(self, item: StoredRecord | Gap) -> bytes | None:
        """Return the JSON of a record; None for the end. Raises as `_checked`."""
        record = _checked(item, self._raised)
        if record.kind == "end":
            return None
        return dumps(record.data.decode()) if record.kind == "text" else record.data


class _RecordFrames:
    """The records of a stream as Server-Sent Events (see `Frames`).

    The end is a record like others, with its own id. The rendered frames are kept in the records,
    which all readers in this process share.
    """

    heartbeat = HEARTBEAT

    def __init__(
        self, error_event: str, unknown: str, raised: Sequence[BaseException] | None
    ) -> None:
        self.count = 0
        self._error_event = error_event
        self._unknown = unknown
        self._raised = raised  # None if a failure is an event, also as the first record

    def opening(self, *, retry: int | None = None, reset: Any = None) -> bytes:
        """Return the reconnection time, and a `reset` event if the client's cursor is unknown."""
        self._raised = None  # the status is sent: a failure is an event
        frames = b"" if retry is None else ServerSentEvent(retry=retry).encode()
        if self._unknown:
            reset = {"reason": "not_recorded", "requested": self._unknown}
            frames += ServerSentEvent(event="reset", data=reset).encode()
        return frames

    def item(self, item: StoredRecord | Gap) -> bytes:
        """Return the frame of a record, or a `reset` event for a gap."""
        if isinstance(item, Gap):
            return ServerSentEvent(event="reset", data=item.as_json()).encode()
        if item.record.kind != "end":
            self.count += 1
        elif self._raised is not None and not self.count and item.record.is_error:
            raise failure_of(item.record, self._raised)
        if item.frame is None:
            item.frame = self._rendered(item.record, item.cursor)
        frame: bytes = item.frame
        return frame

    def _rendered(self, record: StreamRecord, cursor: Cursor) -> bytes:
        if record.kind in ("json", "event"):
            line = b"event: %b\n" % record.name.encode() if record.name else b""
            return b"%bid: %b\ndata: %b\n\n" % (line, str(cursor).encode(), record.data)
        name = self._error_event if record.is_error else record.name
        data: Any = record.data.decode()
        if record.is_error:
            body = pydantic_core.from_json(record.data)
            data = {name: body[name] for name in body if name not in (HEADERS, RAISED)}
        return ServerSentEvent(data=data, event=name or None, id=str(cursor)).encode()

    def done(self) -> bytes:
        """Return nothing: the end was a record."""
        return b""

    def failed(self, problem: Mapping[str, Any], *, final: bool = True) -> bytes:
        """Return an error event if the stream is gone; else ask the client to reconnect.

        In that case the stream itself continues, or its end can be read again.
        """
        if problem.get("status") in (410, 400):
            return ServerSentEvent(event=self._error_event, data=dict(problem)).encode()
        return _RECONNECT
