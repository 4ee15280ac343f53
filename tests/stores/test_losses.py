"""Losses of a store: no id stands for two contents, and old writers are fenced.

A model with random steps: writers that append, lose an answer, or stop; takeovers; and a store that
returns to what it was some steps before, as after a snapshot, a lost tail, the promotion of a
replica that lagged behind, or a restored backup.
"""

import asyncio
import copy
import itertools
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis import Redis

from dual_mode_streaming.stores import (
    AppendResult,
    Limits,
    MemoryStore,
    NewStream,
    RedisStore,
    SQLiteStore,
)

STREAM = "0123456789abcdef" * 2
LIMITS = Limits(lease=0.001)


class MemoryStage:
    """A store in memory, which is copied."""

    def __init__(self):
        self.stores = [MemoryStore(LIMITS)] * 2

    def copied(self):
        return copy.deepcopy(self.stores[0]._streams)

    def restore(self, earlier):
        self.stores[0]._streams = copy.deepcopy(earlier)

    def close(self):
        pass


class SQLiteStage:
    """A file that two processes have open; a backup is restored into it."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.file = Path(self.folder.name) / "file"
        self.stores = [SQLiteStore(self.file, LIMITS, synchronous="OFF") for _ in range(2)]

    def copied(self):
        copied = sqlite3.connect(":memory:")
        with closing(sqlite3.connect(self.file)) as file:
            file.backup(copied)
        return copied

    def restore(self, earlier):
        with closing(sqlite3.connect(self.file)) as file:
            earlier.backup(file)

    def close(self):
        self.folder.cleanup()


class RedisStage:
    """The keys of a Redis, which are dumped and restored."""

    def __init__(self, server):
        prefix = Path(tempfile.mktemp()).name
        self.stores = [RedisStore(server.url, LIMITS, prefix=prefix) for _ in range(2)]
        self.redis = Redis.from_url(server.url)
        self.keys = [f"{prefix}:{{{STREAM}}}:{name}" for name in ("meta", "data")]

    def copied(self):
        return [self.redis.dump(key) for key in self.keys]

    def restore(self, earlier):
        self.redis.delete(*self.keys)
        for key, dumped in zip(self.keys, earlier, strict=True):
            if dumped is not None:
                self.redis.restore(key, 60_000, dumped)

    def close(self):
        self.redis.close()


class Writer:
    """What a writer believes. It repeats an append until it knows the result."""

    def __init__(self, store, generation, head):
        self.store, self.generation, self.head = store, generation, head
        self.pending = []


class Losses(RuleBasedStateMachine):
    stage = None
    """Makes the store; set before a run."""

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.there = type(self).stage()
        self.contents = itertools.count()
        self.seen = {}
        self.copies = []
        self.run(self.there.stores[0].create(NewStream(stream=STREAM, operation="")))
        self.writers = [Writer(self.there.stores[0], 1, 0)]

    def run(self, call):
        return self.runner.run(call)

    def teardown(self):
        for store in self.there.stores:
            self.run(store.aclose())
        self.runner.close()
        self.there.close()

    @rule(
        which=st.integers(0, 11),
        count=st.integers(0, 3),
        answer=st.sampled_from(["arrives", "is lost"]),
    )
    def append(self, which, count, answer):
        if not self.writers:
            return
        writer = self.writers[which % len(self.writers)]  # time decides how many there are
        writer.pending += [b"%d" % next(self.contents) for _ in range(count)]
        before = self.run(writer.store.info(STREAM))
        call = writer.store.append(STREAM, writer.generation, writer.head + 1, writer.pending)
        result = self.run(call)
        if before.generation != writer.generation:
            assert result is AppendResult.FENCED
        if answer == "is lost":
            return
        if result is AppendResult.OK:
            writer.head += len(writer.pending)
            writer.pending = []
        else:
            self.writers.remove(writer)  # it gives up

    @rule(number=st.integers(0, 1))
    def take_over(self, number):
        time.sleep(2 * LIMITS.lease)
        store = self.there.stores[number]
        generation = self.run(store.take_over(STREAM))
        if generation is not None:
            info = self.run(store.info(STREAM))
            assert info.generation == generation
            self.writers.append(Writer(store, generation, info.head))

    @rule()
    def snapshot(self):
        self.copies.append(self.there.copied())

    @rule(which=st.integers(0, 11))
    def lose(self, which):
        if self.copies:
            self.there.restore(self.copies[which % len(self.copies)])

    @invariant()
    def an_id_stands_for_one_content(self):
        for entry in self.run(self.there.stores[1].read(STREAM, 0)):
            id = (entry.generation, entry.sequence)
            assert self.seen.setdefault(id, entry.payload) == entry.payload, id
        info = self.run(self.there.stores[1].info(STREAM))
        for (
            generation,
            sequence,
        ) in self.seen:  # what the store does not have is not said to be there
            if info.has(generation, sequence):
                assert self.seen[generation, sequence] == self.payload(generation, sequence)

    def payload(self, generation, sequence):
        (entry,) = self.run(self.there.stores[1].read(STREAM, sequence - 1, entries=1))
        assert (entry.generation, entry.sequence) == (generation, sequence)
        return entry.payload


def explore(stage, examples, steps):
    class Machine(Losses):
        pass

    Machine.stage = staticmethod(stage)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_ids_and_fencing_hold_over_losses_of_a_store_in_memory():
    explore(MemoryStage, 30, 20)


def test_ids_and_fencing_hold_over_losses_of_a_file():
    explore(SQLiteStage, 5, 20)


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
def test_ids_and_fencing_hold_over_many_losses(redis_server, kind):
    stages = {"memory": MemoryStage, "sqlite": SQLiteStage}
    stage = stages.get(kind, lambda: RedisStage(redis_server))
    explore(stage, 500 if kind == "memory" else 100, 40)


async def test_a_writer_that_was_taken_over_in_what_was_lost_is_fenced():
    """One takes over, the store loses that, another takes over: the first is not the second."""
    stage = MemoryStage()
    store = stage.stores[0]
    await store.create(NewStream(stream=STREAM, operation=""))
    await store.append(STREAM, 1, 1, [b"1"])
    earlier, taken = stage.copied(), []
    for _ in range(2):
        stage.restore(earlier)
        await asyncio.sleep(2 * LIMITS.lease)
        taken.append(await store.take_over(STREAM))
    assert await store.append(STREAM, taken[0], 2, [b"old"]) is AppendResult.FENCED
    assert await store.append(STREAM, taken[1], 2, [b"new"]) is AppendResult.OK
    assert not (await store.info(STREAM)).has(taken[0], 2)


@pytest.mark.parametrize("how", ["into the open file", "as another file"])
async def test_a_backup_of_a_stream_with_many_writers_is_gone_on_from_under_other_ids(
    tmp_path, how
):
    file = tmp_path / "file"
    store = SQLiteStore(file)
    new = NewStream(stream=STREAM, operation="", lifetime=1e6)
    await store.create(new)
    kept = await store.publish(STREAM, [b"1", b"2"])
    with closing(sqlite3.connect(tmp_path / "backup")) as backup:
        with closing(sqlite3.connect(file)) as opened:
            opened.backup(backup)
        lost = await store.publish(STREAM, [b"lost 3"])
        assert lost.generation == kept.generation
        if how == "into the open file":
            with closing(sqlite3.connect(file)) as opened:
                backup.backup(opened)
    if how == "as another file":
        await store.aclose()
        (tmp_path / "backup").replace(file)
        store = SQLiteStore(file)
    first, second = [await store.publish(STREAM, [b"new"]) for _ in range(2)]
    assert first.generation == second.generation != lost.generation
    assert (await store.info(STREAM)).has(kept.generation, 2)
    assert not (await store.info(STREAM)).has(lost.generation, 3)
    await store.aclose()
