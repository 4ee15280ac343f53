"""Recordings that could lose records: a store that loses its last entries, a failed takeover."""

import asyncio
import contextlib
import sqlite3

import pytest

from dual_mode_streaming.recordings import (
    Cursor,
    Gap,
    Operation,
    RecordingRequest,
    Recordings,
    StreamRecord,
)
from dual_mode_streaming.stores import Limits, NewStream, SQLiteStore

STREAM = "0123456789abcdef" * 2


@pytest.fixture
async def store(tmp_path):
    store = SQLiteStore(tmp_path / "file", Limits(lease=30))
    await store.create(NewStream(stream=STREAM, operation="test"))
    yield store
    await store.aclose()


def text(number):
    return StreamRecord("text", "", f"item {number}".encode())


async def test_what_another_wrote_in_place_of_what_was_lost_is_never_read_on(store, tmp_path):
    """The store loses its last entries and another writer continues; a slow reader gets a gap."""
    big = b"x" * 300_000  # more than the tail of a stream keeps
    await store.append(STREAM, 1, 1, [StreamRecord("text", "", big).pack()] * 6)
    info = await store.info(STREAM)

    recordings = Recordings(store)
    reading = recordings.read(info, Cursor(STREAM, 1, 0))
    seen = [await anext(reading) for _ in range(3)]
    assert [recorded.cursor.sequence for recorded in seen] == [1, 2, 3]
    await store.append(STREAM, 1, 7, [text(7).pack()])
    rewound = await rewind(store, tmp_path / "file", to=2)
    assert rewound > 1
    rest = []
    async with asyncio.timeout(60):
        async for recorded in reading:
            rest.append(recorded)
            if isinstance(recorded, Gap):
                break
    # What was read from the store before may still come, but nothing of the other writer.
    *before, last = rest
    assert {recorded.cursor.generation for recorded in before} <= {1}
    assert (type(last), last.reason) == (Gap, "rewritten")
    await reading.aclose()
    await recordings.aclose()


async def rewind(store, path, *, to):
    """Remove the last entries, as a crash may, and append as another writer; its generation."""
    info = await store.info(STREAM)
    with contextlib.closing(sqlite3.connect(path)) as file, file:
        (number,) = file.execute("select number from streams").fetchone()
        file.execute("delete from entries where stream = ? and seq > ?", (number, to))
        file.execute("update streams set head = ?, lease = 0", (to,))
    assert info.head > to
    generation = await store.take_over(STREAM)
    others = [StreamRecord("text", "", b"another").pack()] * 3
    await store.append(STREAM, generation, to + 1, others)
    return generation


async def test_an_operation_that_cannot_resume_after_all_ends_in_an_error(tmp_path):
    """A failed takeover ends the stream, and the process still serves all other streams."""

    def resume(request, items):
        raise ValueError("the parameters are others now")

    store = SQLiteStore(tmp_path / "file", Limits(lease=0.2))
    recordings = Recordings(store)
    operation = Operation(name="test", record_of=text, problem_of=lambda error: {}, resume=resume)
    recordings.add(operation)
    stream = await store.create(NewStream(stream=STREAM, operation="test"))
    recordings.start_recovery()
    async with asyncio.timeout(60):
        info = await store.info(stream)
        async with contextlib.aclosing(recordings.read(info, Cursor(stream, 1, 0))) as records:
            names = [recorded.record.name async for recorded in records]
    assert names == ["error"]
    request = RecordingRequest(operation=operation, owner="", fingerprint="")

    async def source():
        yield 1

    assert (await recordings.start(request, source)).new.operation == "test"
    await recordings.aclose()
