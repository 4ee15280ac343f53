"""A recording where it could lose something: its writer and its readers, over a slow store."""

import asyncio
import contextlib
import sqlite3

import pytest

from dual_mode_streaming.recordings import Lost, Operation, Record, Recordings, Start
from dual_mode_streaming.recordings._entries import Cursor
from dual_mode_streaming.recordings._tail import Tail
from dual_mode_streaming.stores import Limits, NewStream, SQLiteStore

STREAM = "0123456789abcdef" * 2


@pytest.fixture
async def store(tmp_path):
    store = SQLiteStore(tmp_path / "file", Limits(lease=0.3))
    await store.create(NewStream(stream=STREAM, operation="test"))
    yield store
    await store.aclose()


def text(number):
    return Record("text", "", f"item {number}".encode())


async def test_what_another_wrote_in_place_of_what_was_lost_is_never_read_on(store, tmp_path):
    """The store loses its tail and another writes on; a reader that is behind is told so."""
    big = b"x" * 300_000  # more than the tail of a stream remembers
    await store.append(STREAM, 1, 1, [Record("text", "", big).pack()] * 6)
    info = await store.info(STREAM)

    async def revive(stream):
        pass

    tail = Tail(store, info, revive)
    tail.readers = 1
    reading = tail.read(Cursor(STREAM, 1, 0))
    seen = [await anext(reading) for _ in range(3)]
    assert [recorded.cursor.sequence for recorded in seen] == [1, 2, 3]
    await store.append(STREAM, 1, 7, [text(7).pack()])
    rewound = await rewind(store, tmp_path / "file", to=2)
    assert rewound == 2
    rest = []
    async with asyncio.timeout(10):
        async for recorded in reading:
            rest.append(recorded)
            if isinstance(recorded, Lost):
                break
    # What had been read from the store before may still come; nothing of the other writer does.
    *before, last = rest
    assert {recorded.cursor.generation for recorded in before} <= {1}
    assert (type(last), last.reason) == (Lost, "rewritten")
    await reading.aclose()
    await tail.close()


async def rewind(store, path, *, to):
    """Take the end of the stream away, as a crash may, and have another go on; its generation."""
    info = await store.info(STREAM)
    with contextlib.closing(sqlite3.connect(path)) as file, file:
        (number,) = file.execute("select number from streams").fetchone()
        file.execute("delete from entries where stream = ? and seq > ?", (number, to))
        file.execute("update streams set head = ?, lease = 0", (to,))
    assert info.head > to
    generation = await store.take_over(STREAM)
    others = [Record("text", "", b"another").pack()] * 3
    await store.append(STREAM, generation, to + 1, others)
    return generation


async def test_an_operation_that_cannot_resume_after_all_ends_in_an_error(tmp_path):
    """A takeover that fails ends the stream; it does not end the looking after of all others."""

    def resume(request, items):
        raise ValueError("the parameters are others now")

    store = SQLiteStore(tmp_path / "file", Limits(lease=0.2))
    hub = Recordings(store)
    operation = Operation(name="test", record_of=text, problem_of=lambda error: {}, resume=resume)
    hub.add(operation)
    stream = await store.create(NewStream(stream=STREAM, operation="test"))
    hub.look_after()
    async with asyncio.timeout(5):
        info = await store.info(stream)
        async with contextlib.aclosing(hub.read(info, Cursor(stream, 1, 0))) as records:
            told = [recorded.record.name async for recorded in records]
    assert told == ["error"]
    start = Start(operation=operation, owner="", fingerprint="")

    async def source():
        yield 1

    assert (await hub.start(start, source)).new.operation == "test"
    await hub.aclose()
