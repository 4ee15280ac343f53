"""The SQLite store: alone, with other processes on the same file, and under faults."""

import asyncio
import os
import random
import secrets
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest

from dual_mode_streaming.stores import (
    AppendResult,
    Limits,
    NewStream,
    SQLiteStore,
    Store,
    StoreError,
    StoreFull,
    open_store,
)
from dual_mode_streaming.testing import StoreConformance

ROOT = Path(__file__).parent.parent.parent


class TestSQLiteStore(StoreConformance):
    @pytest.fixture(autouse=True)
    def _place(self, path):
        self.path = path

    async def open(self, limits: Limits) -> Store:
        return SQLiteStore(self.path, limits)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a ?#%20 file.db"


@pytest.fixture
async def store(path):
    opened = SQLiteStore(path)
    yield opened
    await opened.aclose()


async def made(store, **options):
    return await store.create(NewStream(stream=secrets.token_hex(16), operation="test", **options))


async def sequences(store, stream):
    """Read a whole stream in parts, and return the sequences."""
    found = []
    while part := await store.read(stream, found[-1] if found else 0):
        assert all(entry.payload == b"%d" % entry.sequence for entry in part)
        found += [entry.sequence for entry in part]
    return found


def program(name, *arguments, **options):
    command = [sys.executable, "-m", "tests.stores.sqlite_programs", name, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, **options)


def query(path, statement, *arguments):
    """Return the answer of the database, without the store."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement, arguments).fetchall()


# Several processes


async def test_processes_that_write_at_once_lose_nothing(store, path):
    streams = [secrets.token_hex(16) for _ in range(12)]
    writing = [program("write", path, "some", *streams[n::4]) for n in range(4)]
    said = await asyncio.gather(*(asyncio.to_thread(one.communicate) for one in writing))
    assert [one.returncode for one in writing] == [0] * 4
    assert sum(text.count("\n") for text, _ in said) == 12 * 200
    for stream in streams:
        assert await sequences(store, stream) == [*range(1, 201)]


async def test_what_was_acknowledged_survives_a_killed_process(store, path):
    for _ in range(5):
        streams = [secrets.token_hex(16) for _ in range(8)]
        writing = program("write", path, "all", *streams)
        acknowledged = dict.fromkeys(streams, 0)
        left = random.randint(1, 1500)
        with writing:
            while line := await asyncio.to_thread(writing.stdout.readline):
                if not line.endswith("\n"):
                    break  # killed in the middle of a line
                stream, number = line.split()
                assert int(number) == acknowledged[stream] + 1
                acknowledged[stream] += 1
                left -= 1
                if left == 0:
                    writing.kill()
        assert left <= 0
        for stream in streams:  # in the open store
            found = await sequences(store, stream)
            assert found == [*range(1, len(found) + 1)]
            assert acknowledged[stream] <= len(found) <= acknowledged[stream] + 1
    await store.aclose()
    assert query(path, "pragma integrity_check") == [("ok",)]
    again = SQLiteStore(path)
    assert await sequences(again, stream) == found
    assert await again.append(stream, 1, len(found) + 1, [b"on"]) is AppendResult.OK
    await again.aclose()


async def test_only_subscribers_of_changed_streams_are_called(store, path):
    other = SQLiteStore(path)
    one, two = await made(store), await made(store)
    calls = 0
    changed = asyncio.Event()

    def on_change():
        nonlocal calls
        calls += 1
        changed.set()

    async with other.subscribe(one, on_change):
        await asyncio.wait_for(changed.wait(), 60)  # the first call: changes before it are unknown
        for number in range(1, 51):
            await store.append(two, 1, number, [b"%d" % number])
            await other.append(two, 1, number + 1, ())
        changed.clear()
        await store.append(one, 1, 1, [b"1"])
        await asyncio.wait_for(changed.wait(), 60)
        changed.clear()
        await store.delete(one)
        await asyncio.wait_for(changed.wait(), 60)
    assert calls == 3
    await other.aclose()


# Group commit


async def test_one_that_is_refused_leaves_the_others_of_its_group_alone(store):
    streams = [await made(store) for _ in range(100)]
    before = asyncio.gather(*(store.append(stream, 1, 1, [b"1"]) for stream in streams))
    appends = [store.append(stream, 1, 2, [b"2"]) for stream in streams]
    appends[40].close()
    appends[40] = store.append(streams[40], 7, 2, [b"2"])
    results = await asyncio.gather(*appends)
    assert await before == [AppendResult.OK] * 100
    assert results.pop(40) is AppendResult.FENCED
    assert results == [AppendResult.OK] * 99
    assert await sequences(store, streams[40]) == [1]
    assert await sequences(store, streams[41]) == [1, 2]


async def test_one_that_cannot_be_written_leaves_the_others_of_its_group_alone(store):
    streams = [await made(store) for _ in range(20)]
    payloads = [[b"1"] for _ in streams]
    payloads[5], payloads[9] = ["no bytes"], [17]
    results = await asyncio.gather(
        *(store.append(s, 1, 1, kept) for s, kept in zip(streams, payloads, strict=True)),
        return_exceptions=True,
    )
    assert isinstance(results.pop(9), TypeError)
    assert isinstance(results.pop(5), StoreError)
    assert results == [AppendResult.OK] * 18
    for number, stream in enumerate(streams):
        assert await sequences(store, stream) == ([] if number in (5, 9) else [1])


async def test_a_cancelled_append_can_be_made_again(store):
    streams = [await made(store) for _ in range(20)]

    async def write(stream):
        for number in range(1, 31):
            append = asyncio.create_task(store.append(stream, 1, number, [b"%d" % number]))
            for _ in range(random.randrange(6)):
                await asyncio.sleep(0)
            append.cancel()
            assert await store.append(stream, 1, number, [b"%d" % number]) is AppendResult.OK

    await asyncio.gather(*map(write, streams))
    for stream in streams:
        assert await sequences(store, stream) == [*range(1, 31)]


async def test_more_than_the_queue_holds_waits(store):
    stream = await made(store)
    appends = [store.append(stream, 1, n, [b"%d" % n]) for n in range(1, 3001)]
    tasks = [asyncio.create_task(append) for append in appends]
    await store.info(stream)
    tasks[-1].cancel()
    assert set(await asyncio.gather(*tasks[:-1])) == {AppendResult.OK}
    assert await sequences(store, stream) == [*range(1, 3000)]


# Faults


async def test_a_locked_file_is_an_error_of_the_store_and_the_loop_goes_on(store, path):
    stream = await made(store)
    impatient = SQLiteStore(path, timeout=0.05)
    with closing(sqlite3.connect(path)) as other:
        other.execute("begin immediate")
        append = asyncio.create_task(store.append(stream, 1, 1, [b"1"]))
        with pytest.raises(StoreError, match="locked by another process"):
            await impatient.append(stream, 1, 1, [b"1"])
        assert await sequences(store, stream) == []  # readers do not wait
        assert not append.done()
        other.rollback()
    assert await append is AppendResult.OK
    assert await impatient.append(stream, 1, 2, [b"2"]) is AppendResult.OK
    await impatient.aclose()


async def test_a_file_that_is_none_of_ours_is_an_error_and_stays_as_it_is(path):
    with closing(sqlite3.connect(path)) as other:
        other.execute("create table theirs (x)")
    other_path = path.with_name("text")
    other_path.write_bytes(b"some text " * 1000)
    for file, word in ((path, "another program"), (other_path, "not a SQLite database")):
        before = file.read_bytes()
        store = SQLiteStore(file)
        with pytest.raises(StoreError, match=word) as caught:
            await made(store)
        assert "\n" not in str(caught.value)
        with pytest.raises(StoreError):
            await store.read("0" * 32, 0)
        await store.aclose()
        assert file.read_bytes() == before


async def test_a_file_that_may_not_be_written_is_an_error():
    with tempfile.TemporaryDirectory() as directory:  # other users may enter it
        os.chmod(directory, 0o755)
        path = Path(directory, "streams.db")
        store = SQLiteStore(path)
        stream = await made(store)
        await store.aclose()
        path.chmod(0o444)
        path.with_name("streams.db-lock").chmod(0o666)
        said, _ = program("write_as_nobody", path, stream).communicate()
        assert "cannot be opened and written" in said
        path.with_name("streams.db-lock").chmod(0o444)
        said, _ = program("write_as_nobody", path, stream).communicate()
        assert "Permission denied" in said


def test_a_full_disk_is_an_error_and_the_log_goes_on_when_there_is_room(path):
    filling = program("fill", path, secrets.token_hex(16))
    said, _ = filling.communicate()
    assert filling.returncode == 0
    assert str(path) in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("path", "word"),
    [("missing/x.db", "directory of"), ("", "needs a file"), (":memory:", "file"), ("/", "is a")],
)
def test_a_path_that_cannot_be_one_is_told_at_once(path, word):
    with pytest.raises(ValueError, match=word) as caught:
        SQLiteStore(path)
    assert "\n" not in str(caught.value)


# Closing


def ours(path):
    """Return the files of the store that this process has open."""
    links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
    return [
        link.readlink() for link in links if link.is_symlink() and path.name in str(link.readlink())
    ]


async def test_nothing_is_left_after_the_end(path):
    threads = set(threading.enumerate())
    store = SQLiteStore(path)
    await asyncio.gather(*(made(store) for _ in range(50)))
    stream = await made(store)
    await asyncio.gather(*(store.info(stream) for _ in range(20)))
    async with store.subscribe(stream, lambda: None):
        await store.append(stream, 1, 1, [b"1"])
    assert ours(path)
    last = asyncio.create_task(store.append(stream, 1, 2, [b"2"]))
    reading = asyncio.create_task(store.read(stream, 0))
    await asyncio.sleep(0)
    await asyncio.gather(store.aclose(), store.aclose())
    await store.aclose()
    assert await last is AppendResult.OK
    assert len(await reading) in (1, 2)
    assert set(threading.enumerate()) == threads
    assert not ours(path)
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, f"{path.name}-lock"]
    for late in (store.info(stream), store.append(stream, 1, 3, [])):
        with pytest.raises(StoreError, match="closed"):
            await late


async def test_what_waits_for_the_opening_hears_of_the_end(path):
    store = SQLiteStore(path)
    waiting = [asyncio.create_task(store.read("0" * 32, 0)) for _ in range(3)]
    await asyncio.sleep(0)
    await store.aclose()
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, StoreError)
    await SQLiteStore(path).aclose()  # one that was never used


def test_it_may_be_used_and_closed_in_other_loops(path):
    store = SQLiteStore(path)
    stream = asyncio.run(made(store))

    async def leave():
        async with asyncio.timeout(60):
            for number in range(1, 3001):
                task = asyncio.create_task(store.append(stream, 1, number, [b"%d" % number]))
            await asyncio.sleep(0)
            task.cancel()

    asyncio.run(leave())
    found = asyncio.run(sequences(store, stream))
    assert found == [*range(1, len(found) + 1)]
    assert asyncio.run(store.append(stream, 1, len(found) + 1, [b"x"])) is AppendResult.OK
    asyncio.run(store.aclose())
    asyncio.run(store.aclose())
    asyncio.run(SQLiteStore(path).aclose())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sqlite:")]


# Limits and retention


async def until(is_so):
    """Wait for another thread."""
    async with asyncio.timeout(60):
        while not is_so():
            await asyncio.sleep(0.01)


async def test_what_is_too_old_is_so_at_once_and_removed_by_and_by(path):
    first = SQLiteStore(path)
    stream = await made(first, owner="o")
    payloads = [b"%d" % n for n in range(1, 5001)]
    assert await first.append(stream, 1, 1, payloads, end="done") is AppendResult.OK
    await first.aclose()
    ((ended,),) = query(path, "select ended from streams")
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("update streams set ended = ?", (ended - 4000,))
    later = SQLiteStore(path)
    info = await later.info(stream)
    assert info is not None
    assert info.expired
    assert (info.new.owner, info.head, info.earliest) == ("o", 5000, 5001)
    assert await later.read(stream, 0) == []
    await later.aclose()
    idle = SQLiteStore(path, Limits(retention=0.2))
    other = await made(idle)
    await until(lambda: query(path, "select count(*) from entries") == [(0,)])
    await until(lambda: query(path, "select count(*) from streams") == [(1,)])
    assert query(path, "select streams, bytes from totals") == [(1, 0)]
    assert await idle.info(stream) is None
    assert await idle.info(other) is not None
    await idle.aclose()


async def test_what_is_counted_is_what_is_there(path):
    store = SQLiteStore(path, Limits(stream_bytes=2000, stream_entries=50, streams=30))
    running = [await made(store) for _ in range(10)]
    heads = dict.fromkeys(running, 0)
    for _ in range(300):
        stream = random.choice(running)
        count = random.choice((0, 1, 2, 70))
        payloads = [random.randbytes(random.randrange(300)) for _ in range(count)]
        end = "done" if random.random() < 0.2 else None
        await store.append(stream, 1, heads[stream] + 1, payloads, end=end)
        heads[stream] += count
        info = await store.info(stream)
        found = [entry.sequence for entry in await store.read(stream, 0)]
        assert found == [*range(info.earliest, heads[stream] + 1)]
        assert len(found) <= 50
        if end or random.random() < 0.1:
            if not end:
                await store.delete(stream)
            running.remove(stream)
            running.append(await made(store))
            heads[running[-1]] = 0
    await until(lambda: query(path, "select count(*) from garbage") == [(0,)])
    ((streams, size),) = query(path, "select streams, bytes from totals")
    assert streams <= 30
    assert query(path, "select count(*), sum(size) from streams") == [(streams, size)]
    assert query(path, "select count(*) from made") == [(streams,)]
    assert query(path, "select sum(length(payload)) from entries") == [(size,)]
    assert query(path, "select max(size) <= 2000 from streams") == [(1,)]
    await store.aclose()


async def test_beyond_its_bytes_a_store_forgets_what_ended_and_refuses_more(path):
    store = SQLiteStore(path, Limits(total_bytes=1000))
    ended, running = await made(store), await made(store)
    await store.append(ended, 1, 1, [bytes(600)], end="done")
    await store.append(running, 1, 1, [bytes(600)])
    last = await made(store)
    assert await store.info(ended) is None
    await store.append(last, 1, 1, [bytes(600)])
    with pytest.raises(StoreFull):
        await made(store)
    await store.aclose()


async def test_a_create_may_be_made_again(store):
    new = NewStream(stream=secrets.token_hex(16), operation="test")
    assert await store.create(new) == new.stream
    await store.append(new.stream, 1, 1, [b"1"])
    assert await store.create(new) == new.stream
    assert await sequences(store, new.stream) == [1]


class Failing:
    """A connection whose pragmas fail."""

    def __init__(self, connection):
        self.connection = connection
        self.failed = 0

    def execute(self, statement, *values):
        if statement.startswith("pragma"):
            self.failed += 1
            raise sqlite3.OperationalError("disk I/O error")
        return self.connection.execute(statement, *values)

    def close(self):
        self.connection.close()


async def test_a_long_log_is_begun_anew_and_what_fails_there_stops_nobody(store, path, monkeypatch):
    monkeypatch.setattr("dual_mode_streaming.stores._sqlite_writer._LOG_PAUSE", 0.0)
    stream = await made(store)
    await store.append(stream, 1, 1, [b"x" * 100_000])
    log = Path(f"{path}-wal")
    assert log.stat().st_size > 100_000
    monkeypatch.setattr("dual_mode_streaming.stores._sqlite_writer._LONGEST_LOG", 50_000)
    await store.append(stream, 1, 2, [b"y"])
    await store.append(stream, 1, 3, [b"z"])  # the result comes before the checkpoint
    assert log.stat().st_size < 50_000
    monkeypatch.setattr("dual_mode_streaming.stores._sqlite_writer._LONGEST_LOG", 1)
    failing = store._writer._connection = Failing(store._writer._connection)
    for sequence in range(4, 8):
        async with asyncio.timeout(60):
            assert await store.append(stream, 1, sequence, [b"x"]) is AppendResult.OK
    assert failing.failed


async def test_large_sequences(store, path):
    stream = await made(store)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("update streams set head = ?, earliest = ?", (10**15 - 1, 10**15))
    payload = b"%d" % 10**15
    assert await store.append(stream, 1, 10**15, [payload]) is AppendResult.OK
    (entry,) = await store.read(stream, 10**15 - 1)
    assert (entry.sequence, entry.payload) == (10**15, payload)
    assert (await store.info(stream)).head == 10**15


async def test_the_address_and_what_is_promised(path):
    store = open_store(f"sqlite:{path}")
    assert isinstance(store, SQLiteStore)
    stream = await made(store)
    await store.append(stream, 1, 1, [b"1"])
    await store.aclose()
    for synchronous in ("OFF", "NORMAL", "FULL"):
        again = SQLiteStore(path, synchronous=synchronous)
        assert again.shared
        assert await sequences(again, stream) == [1]
        await again.aclose()
    with pytest.raises(ValueError, match="OFF, NORMAL or FULL"):
        SQLiteStore(path, synchronous="full")


def test_who_does_not_use_it_does_not_load_it():
    script = "import sys, dual_mode_streaming.stores as s; print('sqlite3' in sys.modules)"
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env)
    assert said.stdout == "False\n"  # `make coverage` would load it by itself


async def test_what_is_published_after_a_start_of_the_system_has_another_generation(store, path):
    """With NORMAL or OFF a power cut takes the last entries: their cursors must not be reused."""
    new = NewStream(stream="a" * 32, operation="test", lifetime=3600, generation=7)
    await store.create(new)
    await store.publish(new.stream, [b"1", b"2"])
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("update streams set boot = 'an earlier one'")
    first, second = [await store.publish(new.stream, [b"x"]) for _ in range(2)]
    assert 7 < first.generation == second.generation
    assert (await store.info(new.stream)).generations == ((7, 1), (first.generation, 3))


STOPPED_WRITER = """
import asyncio, os, signal, sys
from dual_mode_streaming.stores import SQLiteStore

class Stopping(bytes):
    def __len__(self):  # it is called in the turn of the writer
        os.kill(os.getpid(), signal.SIGSTOP)
        return super().__len__()

async def main():
    store = SQLiteStore(sys.argv[1])
    await store.append(sys.argv[2], 1, 1, [Stopping(b"first")])
    await store.aclose()

asyncio.run(main())
"""


async def test_a_writer_that_is_stopped_in_its_turn_is_waited_for_within_the_timeout(tmp_path):
    """Others say in one line why they fail; they read on, and write when it goes on or is gone."""
    for ends_by in (signal.SIGCONT, signal.SIGKILL):
        path, stream = tmp_path / ends_by.name, secrets.token_hex(16)
        store = SQLiteStore(path, timeout=0.3)
        await store.create(NewStream(stream=stream, operation="test"))
        command = [sys.executable, "-c", STOPPED_WRITER, str(path), stream]
        writer = await asyncio.to_thread(subprocess.Popen, command)
        try:
            _, status = await asyncio.to_thread(os.waitpid, writer.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            with pytest.raises(StoreError, match="locked by another process"):
                await store.append(stream, 1, 1, [b"other"])
            assert await store.read(stream, 0) == []
            writer.send_signal(ends_by)
            await asyncio.to_thread(writer.wait, 60)
        finally:
            writer.kill()
        assert (await store.append(stream, 1, 1, [b"first"])).name == "OK"
        assert [entry.payload for entry in await store.read(stream, 0)] == [b"first"]
        await store.aclose()
