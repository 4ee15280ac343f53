"""The log of one channel: what is published, and how it is read."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeVar

import pydantic_core

from dual_mode_streaming.channels._names import stream_of
from dual_mode_streaming.errors import Problem, StoreError, StoreFull
from dual_mode_streaming.recordings import (
    Cursor,
    Gap,
    Recordings,
    StoredRecord,
    StreamGone,
    StreamRecord,
)
from dual_mode_streaming.stores import AppendResult, NewStream, Published, StreamInfo
from dual_mode_streaming.stores._publishing import FOREVER

T = TypeVar("T")

OPERATION: Final = "channel"
_PAUSES: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0)  # between tries of a publish, in seconds
_CHECK: Final = 5.0  # seconds after which it is looked for a channel, if a notification was lost

CLOSE: Final = StreamRecord.end("done", {})


class ChannelClosed(Problem):
    """The channel is closed: nothing can be published any more (409)."""

    def __init__(self, name: str, state: str = "is closed") -> None:
        super().__init__(409, f"the channel {name!r} {state}")


class ChannelMessage(NamedTuple, Generic[T]):
    """A message of a channel, and its cursor."""

    cursor: str
    item: T


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What is kept of a channel: see `Channel`. None is what the store allows."""

    entries: int | None = None
    size: int | None = None
    ttl: float | None = None


class ChannelLog:
    """One channel in a store.

    Args:
        recordings: the streams of the store.
        name: the name of the channel, checked.
        retention: what is kept.
    """

    def __init__(self, recordings: Recordings, name: str, retention: Retention) -> None:
        self.name = name
        self.stream = stream_of(name)
        self.recordings = recordings
        self.store = recordings.store
        self.retention = retention

    async def create(
        self, *, owner: str = "", request: bytes = b"", leased: bool = False
    ) -> NewStream:
        """Create the channel if it is not there. Its generation tells whether it was.

        With `leased` it has one writer, which has a lease, as a recording has.
        """
        ttl = FOREVER if self.retention.ttl is None else self.retention.ttl
        new = NewStream(
            stream=self.stream,
            operation=OPERATION,
            owner=owner,
            fingerprint=self.name,
            request=request,
            lifetime=None if leased else ttl,
            generation=1 + secrets.randbelow(10**14),
        )
        await self.store.create(new)
        return new

    async def _begin(self) -> None:
        """Create the channel. Raises ChannelClosed if it is there, with one writer."""
        await self.create()
        if (info := await self.info()) is not None and info.new.lifetime is None:
            state = "has one writer" if info.state == "running" else "is closed"
            raise ChannelClosed(self.name, state)

    async def append(
        self,
        records: Sequence[StreamRecord],
        *,
        close: StreamRecord | None = None,
        marks: Mapping[str, tuple[str | None, str]] | None = None,
    ) -> Published:
        """Append records, and the end that closes the channel, if the marks are as expected."""
        records = records if close is None else (*records, close)
        kept = self.retention
        return await self.store.publish(
            self.stream,
            [record.pack() for record in records],
            end=None if close is None else "error" if close.is_error else "done",
            marks=marks,
            lifetime=kept.ttl,
            entries=kept.entries,
            size=kept.size,
        )

    async def publish(self, records: Sequence[StreamRecord], *, key: str | None = None) -> Cursor:
        """Publish records once, in a channel that is created if it is not there.

        Args:
            records: the records.
            key: a key of the caller's. A second publish with it adds nothing.

        Returns:
            The cursor of the last record.

        Raises:
            ChannelClosed: the channel is closed.
            Problem: 422 if the key was used with something else.
            StoreError: the store could not be reached for several seconds.
        """
        if key is not None and not isinstance(key, str):
            raise TypeError(f"the key of a message must be a str, not {key!r}")
        own = secrets.token_hex(8) if key is None else _digest(key.encode())
        value = _digest(*(record.pack() for record in records)) if key is not None else ""
        mark = f"k{own}"
        pauses = iter(_PAUSES)
        while True:
            try:
                done = await self.append(records, marks={mark: (None, value)})
                if done.result is not AppendResult.CLOSED or done.generation:
                    break
                await self._begin()
            except StoreFull:
                raise
            except StoreError:
                if (pause := next(pauses, None)) is None:
                    raise
                await asyncio.sleep(pause)
        if done.result is AppendResult.CLOSED:
            raise ChannelClosed(self.name)
        if (held := done.marks.get(mark)) is None:
            return Cursor(self.stream, done.generation, done.sequence)
        if held.value != value:
            raise Problem(422, "this key was used to publish something else")
        return Cursor(self.stream, held.generation, held.sequence)

    async def close(self, error: Problem | None = None) -> None:
        """Close the channel, with an error for its readers. A closed one stays as it is."""
        end = CLOSE if error is None else StreamRecord.end("error", error.body)
        done = await self.append((), close=end)
        if done.result is AppendResult.CLOSED and not done.generation:
            await self._begin()  # nothing was published: its readers wait for the end as well
            await self.append((), close=end)

    async def delete(self) -> None:
        """Delete the channel with all that it has."""
        await self.recordings.delete(self.stream)

    async def info(self) -> StreamInfo | None:
        """Return the state of the channel; None if it is not there."""
        info = await self.store.info(self.stream)
        if info is not None and info.is_abandoned:  # its writer was killed: the end is written
            info = await self.recordings.find(self.stream, info.new.owner)
        return None if info is None or info.expired else info

    async def records(self, after: Cursor | None, limit: int) -> list[StoredRecord]:
        """Return what there is after a cursor, or from the earliest on.

        Raises:
            Problem: 410 if the channel does not have the cursor, or what follows it, any more.
        """
        info = await self.info()
        if after is not None and (gap := gap_after(info, after)) is not None:
            raise Problem(410, f"what follows {after} is no longer kept", **gap)
        start = 0 if after is None else after.sequence
        entries = [] if info is None else await self.store.read(self.stream, start, entries=limit)
        return [StoredRecord.of(self.stream, entry) for entry in entries]

    async def reset_of(self, shown: str) -> dict[str, str]:
        """Return what a `reset` says about a text that is no cursor of this channel."""
        data = {"reason": "not_recorded", "requested": shown[:80]}
        if (info := await self.info()) is not None:
            data["earliest"] = str(Cursor.at(info, info.earliest))
            data["head"] = str(Cursor.at(info, info.head))
        return data

    async def kept(self, after: Cursor | None) -> AsyncGenerator[StoredRecord | Gap, None]:
        """Yield what there is after a cursor, or from the earliest on, and end."""
        info = await self.info()
        position = 0 if after is None else after.sequence
        if info is not None and after is not None and gap_after(info, after) is not None:
            yield Gap.of(info, after)
            position = 0
        while info is not None and position < info.head:
            entries = await self.store.read(self.stream, position)
            for entry in entries:
                position = entry.sequence
                if (record := StoredRecord.of(self.stream, entry)).record.kind != "end":
                    yield record
                _raise_error(record.record)
            if not entries:
                return

    async def follow(
        self, after: Cursor | None, *, from_now: bool = False
    ) -> AsyncGenerator[StoredRecord | Gap, None]:
        """Yield what follows a cursor, as it arrives, until the channel is closed.

        If the channel is not there, or is deleted, this waits for it. What a reader with a cursor
        has missed is told by a Gap.

        Args:
            after: the cursor; None for the earliest that is kept.
            from_now: with no cursor, begin after the newest.
        """
        has_seen = after is not None
        while True:
            info = await self._appeared()
            if info.expired:
                return
            if after is None:
                after = Cursor.at(info, info.head if from_now else info.earliest - 1)
            try:
                async with aclosing(self.recordings.read(info, after)) as records:
                    async for record in records:
                        if isinstance(record, Gap):
                            if has_seen:
                                yield record
                        elif record.record.kind != "end":
                            after, has_seen = record.cursor, True
                            yield record
                        else:
                            _raise_error(record.record)
                return
            except StreamGone:
                has_seen = True

    async def _appeared(self) -> StreamInfo:
        """Return the state of the channel, as soon as there is one."""
        if (info := await self.store.info(self.stream)) is not None:
            return info
        changed = asyncio.Event()
        async with self.store.subscribe(self.stream, changed.set):
            while (info := await self.store.info(self.stream)) is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_CHECK):
                        await changed.wait()
                changed.clear()
        return info


def gap_after(info: StreamInfo | None, after: Cursor) -> dict[str, Any] | None:
    """Return what a `reset` says about a cursor that cannot be continued; None if it can."""
    if info is None:
        return {"reason": "rewritten", "requested": str(after)}
    if info.has(after.generation, after.sequence) and after.sequence + 1 >= info.earliest:
        return None
    return Gap.of(info, after).as_json()


def _raise_error(record: StreamRecord) -> None:
    """Raise the error with which a channel was closed, if this is it."""
    if record.is_error:
        problem = pydantic_core.from_json(record.data)
        raise Problem(problem["status"], problem.get("detail"))
    if record.kind == "end" and record.name != "done":
        detail = f"the writer of the channel was {record.name}"
        raise Problem(409, detail, outcome=record.name)


def _digest(*parts: bytes) -> str:
    joined = b"".join(b"%d:%b" % (len(part), part) for part in parts)
    return hashlib.sha256(joined).hexdigest()[:32]
