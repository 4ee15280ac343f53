"""The records of a stream as frames of a foreign wire format, from the start or after one."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Final, NamedTuple

import pydantic_core
from starlette.requests import Request
from starlette.responses import Response

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.negotiation import Negotiated, ResponseMode
from dual_mode_streaming.recordings import Cursor, Gap, Recordings, StoredRecord, StreamRecord
from dual_mode_streaming.rendering import Frames, ItemCodec, Representation, WireFormat
from dual_mode_streaming.stores import StreamInfo
from dual_mode_streaming.web._problems import problem_of
from dual_mode_streaming.web._wire_response import WiredResponse, wanted
from dual_mode_streaming.web.recorded._operation import RecordedOperation, begun_of
from dual_mode_streaming.web.recorded._registry import location
from dual_mode_streaming.web.recorded._replay import failure_of

_POSITION: Final = re.compile(r"(.+)\.(0|[1-9][0-9]{0,5})")
_FORM: Final = Negotiated(ResponseMode.STREAM, ResponseMode.STREAM.media_type)


class FramePosition(NamedTuple):
    """The id of a frame: that of its record, and the number of the frame among those of it."""

    stream: str
    generation: int
    sequence: int
    number: int

    @classmethod
    def parse(cls, text: str) -> "FramePosition | None":
        """Return the position that a text names; None if the text is none."""
        parts = _POSITION.fullmatch(text)
        cursor = None if parts is None else Cursor.parse(parts[1])
        return None if parts is None or cursor is None else cls(*cursor, int(parts[2]))


def wire_replay(
    request: Request,
    recordings: Recordings,
    info: StreamInfo,
    operation: RecordedOperation,
    wire: WireFormat,
    *,
    after: FramePosition | None,
    raises_first: bool,
    injected: Response | None,
) -> WiredResponse:
    """Return a recording in a wire format as a response.

    The frames are made again from the first item on, because those of an item may depend on the
    items before it; what the client has seen of them is not sent.

    Args:
        request: the request.
        recordings: where the stream is.
        info: its state.
        operation: what was recorded.
        wire: the wire format.
        after: the frame that the client has seen last; None for none.
        raises_first: answer a stream that failed before its first record with the status of that
            failure.
        injected: as for a DualModeResponse.
    """

    begun = begun_of(info)
    form, whole = wanted(wire, begun, info.new.stream, _FORM)

    def frames() -> _WireRecords:
        made = wire.frames(begun, info.new.stream)
        ids = (
            Cursor(info.new.stream, info.generations[0][0], 0)
            if wire.key and wire.resume == "each"
            else None
        )
        return _WireRecords(made, ids, after, raises_first)

    return WiredResponse(
        wire,
        recordings.read(info, Cursor(info.new.stream, info.generations[0][0], 0)),
        mode=form,
        representation=Representation(
            ItemCodec(),
            None if whole is None else lambda records: whole(_items(records)),
            frames=frames,
        ),
        headers={"location": location(request, info.new.stream)},
        handles_last_event_id=True,
        injected=injected,
        **operation.options,
    )


async def _items(records: AsyncIterator[StoredRecord | Gap]) -> AsyncGenerator[Any, None]:
    """Yield the items of a recording. Raises Problem if it is not complete."""
    async for stored in records:
        if isinstance(stored, Gap):
            raise _trimmed()
        if stored.record.kind != "end":
            yield _item_of(stored.record)
        elif stored.record.name != "done":
            raise _failure_of_end(stored.record)


def _item_of(record: StreamRecord) -> Any:
    is_text = record.kind == "text"
    return record.data.decode() if is_text else pydantic_core.from_json(record.data)


def _failure_of_end(end: StreamRecord) -> Problem:
    if end.is_error:
        return problem_of(failure_of(end, ()))
    return Problem(503, f"the answer was {end.name}; ask again")


def _trimmed() -> Problem:
    return Problem(410, "parts of this answer are not stored any more")


class _WireRecords:
    """The frames of records (see `Frames`). The end of the recording is a record, too."""

    def __init__(
        self,
        frames: Frames,
        ids: Cursor | None,
        after: FramePosition | None,
        raises_first: bool,
    ) -> None:
        self.count = 0
        self.heartbeat = frames.heartbeat
        self._frames = frames
        self._ids = ids
        self._after = after
        self._raises_first = raises_first
        self._is_open = False

    def opening(self, *, retry: int | None = None, reset: Any = None) -> bytes:
        """Return the frames before the first item."""
        self._raises_first = False  # the status is sent: a failure is a frame
        if self._is_open:
            return b""
        self._is_open = True
        return self._numbered(self._frames.opening(retry=retry), self._ids)

    def item(self, item: StoredRecord | Gap) -> bytes:
        """Return the frames of a record."""
        if isinstance(item, Gap):
            raise _trimmed()
        record = item.record
        if record.kind != "end":
            self.count += 1
            return self._numbered(self._frames.item(_item_of(record)), item.cursor)
        if self._raises_first and not self.count and record.is_error:
            raise problem_of(failure_of(record, ()))
        return self._numbered(self._ending(record), item.cursor)

    def done(self) -> bytes:
        """Return nothing: the end was a record."""
        return b""

    def failed(self, problem: Mapping[str, Any], *, final: bool = True) -> bytes | None:
        """Return the end of an answer that is gone; else None, since it goes on elsewhere."""
        if problem.get("status") != 410:
            return None
        return self._stopped() or self._frames.failed(problem)

    def _ending(self, end: StreamRecord) -> bytes:
        if end.name == "done":
            return self._frames.done()
        if end.name == "cancelled" and (stopped := self._stopped()):
            return stopped
        failure = _failure_of_end(end)
        ending = self._frames.failed(failure.body)
        if ending is None:
            raise failure
        return ending

    def _stopped(self) -> bytes:
        stopped = getattr(self._frames, "stopped", None)
        return b"" if stopped is None else stopped()

    def _numbered(self, frames: bytes, cursor: Cursor | None) -> bytes:
        """Return frames with their ids, without those that the client has seen."""
        if self._ids is None or cursor is None:
            return frames
        numbered = []
        for number, frame in enumerate(part for part in frames.split(b"\n\n") if part):
            if self._after is None or (cursor.sequence, number) > self._after[2:]:
                numbered.append(b"id: %b.%d\n%b\n\n" % (str(cursor).encode(), number, frame))
        return b"".join(numbered)
