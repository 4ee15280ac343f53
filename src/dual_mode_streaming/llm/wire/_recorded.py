"""Answers in a wire format that are recorded frame by frame in the app's store, and read again.

The first record of an answer is its head: what its wire format wants to know of it later. Each
record after it is one frame, so the number of a frame, from 0, is the number of its record.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass, replace
from typing import Any, Final

from starlette.requests import Request

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.recordings import (
    Cursor,
    Gap,
    Operation,
    RecordingRequest,
    Recordings,
    StreamGone,
    StreamRecord,
)
from dual_mode_streaming.rendering import Frames
from dual_mode_streaming.running.owner import logger
from dual_mode_streaming.sse import HEARTBEAT
from dual_mode_streaming.stores import NewStream, StreamInfo
from dual_mode_streaming.web._app_state import app_state
from dual_mode_streaming.web._options import resolved_options
from dual_mode_streaming.web._problems import problem_of
from dual_mode_streaming.web.recorded._registry import registry_of
from dual_mode_streaming.web.recorded._routes import until_ended

_FIRST: Final = 2
"""The sequence number of frame 0 in the store; the head has 1."""

_CANCEL_WAIT: Final = 5.0
"""The time in seconds that a cancellation waits for the end of the answer."""


class RecordedAnswers:
    """The recorded answers of one wire format.

    Args:
        name: the name of the format's operation in the store.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @staticmethod
    def is_possible(request: Request) -> bool:
        """Return whether the app has a store: whether `install` was called on it."""
        return hasattr(request.app.state, "dual_mode_recordings")

    async def start(
        self,
        request: Request,
        stream: str,
        head: bytes,
        frames: Callable[[], AsyncGenerator[bytes, None]],
        *,
        held: AbstractContextManager[object],
        fingerprint: str = "",
        key: str | None = None,
    ) -> "RecordedAnswer":
        """Start an answer, or find the one with the same key. Its head is stored then.

        Args:
            request: the request. Its owner is that of the answer.
            stream: the id of a new answer, 32 hexadecimal digits.
            head: what is kept with the answer.
            frames: makes the frames. They are read to the end, with readers or without.
            held: is entered for as long as the frames are made, unless this call raises.
            fingerprint: a digest of the request.
            key: the key under which the answer is found again.

        Raises:
            StoreError: the store failed.
        """
        registry = registry_of(request.app)
        options = resolved_options(app_state(request.app).defaults)
        operation = Operation(
            name=self._name,
            record_of=_record_of,
            problem_of=lambda error: problem_of(error).body,
            cleanup_timeout=options["cleanup_timeout"],
            max_duration=options["max_duration"],
        )
        recording = RecordingRequest(
            operation=operation,
            owner=registry.owner_of(request),
            fingerprint=fingerprint,
            idempotency_key=key,
        )
        recordings = registry.recordings_in()
        info = await recordings.start(
            recording, lambda: _with_head(head, frames(), held), stream=stream
        )
        answer = RecordedAnswer(recordings, info)
        await answer.head()
        return answer

    async def keep(self, request: Request, stream: str, head: bytes, last: bytes) -> None:
        """Store an answer that was made elsewhere: its head and its last frame.

        Nothing is stored if it is too large for a stream. A repeated id replaces the older answer.

        Raises:
            StoreError: the store failed.
        """
        registry = registry_of(request.app)
        store = registry.recordings_in().store
        records = [_record_of(head), _record_of(last), StreamRecord.end("done", {"items": 1})]
        packed = [record.pack() for record in records]
        if sum(map(len, packed)) > store.limits.stream_bytes or store.limits.stream_entries < 3:
            return
        new = NewStream(stream=stream, operation=self._name, owner=registry.owner_of(request))
        if await store.info(stream) is not None:
            await store.delete(stream)
        await store.create(new)
        await store.append(stream, 1, 1, packed, end="done")

    async def find(self, request: Request, stream: str) -> "RecordedAnswer | None":
        """Return an answer; None if there is none with this id, or it has another owner."""
        if not self.is_possible(request):
            return None
        registry = registry_of(request.app)
        recordings = registry.recordings_in()
        info = await recordings.find(stream, registry.owner_of(request))
        if info is None or info.expired or info.new.operation != self._name:
            return None
        return RecordedAnswer(recordings, info)


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """An answer in a store.

    Attributes:
        recordings: where it is.
        info: its state.
    """

    recordings: Recordings
    info: StreamInfo

    @property
    def count(self) -> int:
        """The number of its frames so far, that of its end included."""
        ends_by_itself = self.info.state == "done"  # the record of that end is no frame
        return max(0, self.info.head - _FIRST + 1 - ends_by_itself)

    async def head(self) -> bytes:
        """Return its head; waits for it.

        Raises:
            Problem: the head is not stored any more.
        """
        async with aclosing(self._records(0)) as records:
            async for record in records:
                if record.kind != "end":
                    return record.data
        raise Problem(503, "the answer ended before it began; try again", retry_after=1)

    async def record(self, sequence: int) -> StreamRecord:
        """Return the record with this sequence number. Raises StreamGone if it is gone."""
        entries = await self.recordings.store.read(self.info.new.stream, sequence - 1, entries=1)
        if not entries:
            raise StreamGone("the answer was deleted")
        return StreamRecord.unpack(entries[0].payload)

    async def frames(
        self, after: int, end: Callable[[StreamRecord, int], Awaitable[bytes]]
    ) -> AsyncGenerator[bytes, None]:
        """Yield the frames after one, as they arrive, to the end.

        Args:
            after: the number of that frame; -1 for all.
            end: returns the last frame of an answer that did not end by itself, from the record of
                its end and the frame's number.

        Raises:
            Problem: frames in between are not stored any more, or the answer was deleted.
            StoreError: the store failed.
        """
        number = after
        async with aclosing(self._records(after + _FIRST)) as records:
            async for record in records:
                number += 1
                if record.kind != "end":
                    yield record.data
                elif record.name != "done":
                    yield await end(record, number)

    async def stored(self) -> AsyncGenerator[bytes, None]:
        """Yield the frames that are stored now."""
        after = _FIRST - 1
        while entries := await self.recordings.store.read(self.info.new.stream, after):
            for entry in entries:
                record = StreamRecord.unpack(entry.payload)
                if record.kind != "end":
                    yield record.data
            after = entries[-1].sequence

    async def cancel(self, request: Request) -> "RecordedAnswer":
        """Cancel it, in whichever process it runs, and wait for its end; return its state."""
        info = self.info
        if info.state == "running":
            await self.recordings.cancel(info.new.stream)
            info = await until_ended(request, self.recordings, info, _CANCEL_WAIT)
        return replace(self, info=info)

    async def delete(self) -> None:
        """Cancel and delete it."""
        await self.recordings.delete(self.info.new.stream)

    async def _records(self, after: int) -> AsyncGenerator[StreamRecord, None]:
        reading = self.recordings.read(self.info, Cursor.at(self.info, after))
        async with aclosing(reading) as records:
            async for stored in records:
                if isinstance(stored, Gap):
                    raise Problem(410, "parts of the answer are not stored any more")
                yield stored.record


class VerbatimFrames:
    """Frames that are sent as they are. A failure breaks the transfer: no frame ends the answer."""

    heartbeat = HEARTBEAT

    def __init__(self) -> None:
        self.count = 0

    def opening(self, *, retry: int | None = None, reset: Any = None) -> bytes:
        """Return nothing: the opening was recorded."""
        return b""

    def item(self, item: bytes) -> bytes:
        """Return the frame."""
        self.count += 1
        return item

    def done(self) -> bytes:
        """Return nothing: the end was recorded."""
        return b""

    def failed(self, problem: Mapping[str, Any], *, final: bool = True) -> None:
        """Return None: the answer itself may go on."""
        return


async def frames_of(
    frames: Frames, items: AsyncGenerator[Any, None]
) -> AsyncGenerator[bytes, None]:
    """Yield the frames of an answer one by one, those of its failure too; close the items."""
    for frame in _single(frames.opening()):
        yield frame
    try:
        async with aclosing(items):
            async for item in items:
                for frame in _single(frames.item(item)):
                    yield frame
        ending: bytes | None = frames.done()
    except Exception as error:
        problem = problem_of(error)
        if problem.status_code == 500 and not isinstance(error, Problem):
            logger.error("a recorded answer failed", exc_info=error)
        ending = frames.failed(problem.body)
        if ending is None:
            raise
    for frame in _single(ending or b""):
        yield frame


def _single(frames: bytes) -> Iterator[bytes]:
    """Yield the events in some frames one by one."""
    for event in frames.split(b"\n\n"):
        if event:
            yield event + b"\n\n"


async def _with_head(
    head: bytes, frames: AsyncGenerator[bytes, None], held: AbstractContextManager[object]
) -> AsyncIterator[bytes]:
    with held:
        async with aclosing(frames):
            yield head
            async for frame in frames:
                yield frame


def _record_of(frame: bytes) -> StreamRecord:
    return StreamRecord("text", "", frame)
