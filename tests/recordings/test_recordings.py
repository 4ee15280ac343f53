"""Recordings under adverse timing: slow and failing stores, ends at the same moment."""

import asyncio
import contextlib
import itertools
import time

import pytest

from dual_mode_streaming.recordings import Cursor, StreamGone, StreamRecord
from dual_mode_streaming.recordings._producer import Producer
from dual_mode_streaming.running.owner import End
from dual_mode_streaming.stores import Limits, NewStream, StoreError

from .slow_stores import FaultyRecordings, on_virtual_clock


async def count(upto):
    for n in range(upto):
        yield n


async def endless(pause=1.0):
    for n in itertools.count():
        yield n
        await asyncio.sleep(pause)


def whole(upto, end="done"):
    return [*((n + 1, str(n)) for n in range(upto)), (upto + 1, end)]


@on_virtual_clock
async def test_a_producer_that_is_stopped_before_its_first_step_ends():
    for end in (End.STOPPED, End.DRAINING, End.TOO_LONG):
        stage = FaultyRecordings()
        new = NewStream(stream="a" * 32, operation="op")
        await stage.store.create(new)
        producer = Producer(stage.store, new.stream, stage.operation, endless)
        producer.stop(end)
        await producer.run()
        info = await stage.store.info(new.stream)
        records = await stage.read(info)
        assert [name for _, name in records] == [
            {"STOPPED": "cancelled", "DRAINING": "interrupted", "TOO_LONG": "error"}[end.name]
        ]
        await stage.recordings.aclose()


@on_virtual_clock
async def test_the_end_of_the_app_waits_for_no_producer_that_has_just_begun():
    stage = FaultyRecordings()
    await stage.start(endless)
    async with asyncio.timeout(30):
        await stage.recordings.aclose()
    with pytest.raises(StoreError):
        await stage.start(endless)


@on_virtual_clock
async def test_a_producer_does_not_need_the_bell():
    stage = FaultyRecordings()
    stage.store.failing.add("subscribe")
    info = await stage.start(lambda: count(3))
    await asyncio.sleep(1)
    assert await stage.state(info) == "done"
    await stage.recordings.aclose()


@on_virtual_clock
async def test_a_stop_while_a_batch_is_being_written_loses_nothing():
    for moment in ("before", "after"):
        stage = FaultyRecordings()

        async def slowly(payloads, end):
            if payloads and not end:
                await asyncio.sleep(1)

        setattr(stage.store, moment, slowly)
        info = await stage.start(endless)
        await asyncio.sleep(0.5)
        await stage.recordings.cancel(info.new.stream)
        assert await stage.read(info) == [(1, "0"), (2, "cancelled")]
        await stage.recordings.aclose()


@on_virtual_clock
async def test_a_timeout_of_the_generator_while_a_batch_is_being_written_loses_nothing():
    async def source():
        try:
            async with asyncio.timeout(0.5):
                yield 0
                await asyncio.sleep(10)
        except TimeoutError:
            pass
        yield 1

    async def in_the_pump():  # it is interrupted while a full batch is written
        try:
            async with asyncio.timeout(0.5):
                for n in range(1000):
                    yield n
        except TimeoutError:
            yield "timeout"

    for moment in ("before", "after"):
        stage = FaultyRecordings()

        async def slowly(payloads, end):
            await asyncio.sleep(1)

        setattr(stage.store, moment, slowly)
        info = await stage.start(source)
        assert await stage.read(info) == whole(2)
        info = await stage.start(in_the_pump)
        records = await stage.read(info)
        assert [name for _, name in records[-2:]] == ['"timeout"', "done"]
        assert [n for n, _ in records] == list(range(1, len(records) + 1))
        await stage.recordings.aclose()


@on_virtual_clock
async def test_what_is_made_while_the_lease_is_renewed_is_not_held_back():
    stage = FaultyRecordings(Limits(lease=3))

    async def renewals_are_slow(payloads, end):
        if not payloads:
            await asyncio.sleep(0.5)

    stage.store.before = renewals_are_slow

    async def source():
        await asyncio.sleep(1.25)
        yield 0
        await asyncio.sleep(1000)

    info = await stage.start(source)
    async with asyncio.timeout(3):
        async with contextlib.aclosing(
            stage.recordings.read(info, Cursor(info.new.stream, 1, 0))
        ) as read:
            assert (await anext(read)).cursor.sequence == 1
    await stage.recordings.aclose()


@on_virtual_clock
async def test_a_stop_while_the_end_is_being_written_does_not_lose_it():
    stage = FaultyRecordings()

    async def slowly(payloads, end):
        await asyncio.sleep(1)

    stage.store.before = slowly
    info = await stage.start(lambda: count(0))
    await asyncio.sleep(0.5)
    await stage.recordings.cancel(info.new.stream)
    assert (await stage.read(info))[-1] == (1, "done")
    assert asyncio.get_running_loop().time() < 5
    await stage.recordings.aclose()


@on_virtual_clock
async def test_a_store_that_is_gone_for_too_long_ends_the_generator_once():
    stage = FaultyRecordings(Limits(lease=3))
    seen = []

    async def source():
        try:
            yield 0
            await asyncio.sleep(1000)
        except Exception as error:  # the generator must not see an error of the store
            seen.append(error)
        finally:
            await asyncio.sleep(0.1)
            seen.append("closed")

    stage.store.failing.add("append")
    info = await stage.start(source)
    await asyncio.sleep(30)
    assert seen == ["closed"]
    assert not stage.recordings.producing
    stage.store.failing.clear()
    await asyncio.sleep(5)
    assert await stage.read(info) == [(1, "interrupted")]
    await stage.recordings.aclose()


@on_virtual_clock
async def test_a_store_out_of_reach_for_a_while_is_waited_for():
    stage = FaultyRecordings()
    info = await stage.start(lambda: endless(0.1))
    reading = asyncio.create_task(stage.read(info))
    await asyncio.sleep(1)
    stage.store.failing |= {"append", "info", "read", "subscribe", "abandoned"}
    await asyncio.sleep(8)
    stage.store.failing.clear()
    await asyncio.sleep(5)
    await stage.recordings.cancel(info.new.stream)
    records = await reading
    assert records == whole(len(records) - 1, "cancelled")
    assert len(records) > 30
    await stage.recordings.aclose()


@on_virtual_clock
async def test_what_a_generator_does_when_it_is_ended():
    async def swallows():
        for n in itertools.count():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1)
            yield n

    async def returns():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        yield "last"

    async def raises():
        try:
            await asyncio.sleep(1000)
            yield 1
        finally:
            raise RuntimeError("in finally")

    for source in (swallows, returns, raises):
        stage = FaultyRecordings()
        info = await stage.start(source)
        await asyncio.sleep(2.5)
        await stage.recordings.cancel(info.new.stream)
        assert (await stage.read(info))[-1][1] == "cancelled"
        await stage.recordings.aclose()


@on_virtual_clock
async def test_a_source_that_cannot_be_made_is_an_error_of_the_stream():
    def broken():
        raise RuntimeError("no source")

    stage = FaultyRecordings()
    assert await stage.read(await stage.start(broken)) == [(1, "error")]
    await stage.recordings.aclose()


@on_virtual_clock
async def test_a_stream_that_cannot_be_resumed_ends_and_others_are_looked_after():
    def resume(request, items):
        if request == b"bad":
            raise ValueError("not a request of this version")
        return count(2)

    stage = FaultyRecordings(Limits(lease=3), shared=True, resume=resume)
    new = [
        NewStream(stream=str(n) * 32, operation="op", request=r)
        for n, r in enumerate((b"bad", b""))
    ]
    for one in new:
        await stage.store.create(one)
    stage.recordings.start_recovery()
    await asyncio.sleep(10)
    states = [(await stage.store.info(one.stream)).state for one in new]
    assert states == ["error", "done"]
    await stage.recordings.aclose()


@on_virtual_clock
async def test_who_looks_after_streams_survives_what_a_store_raises():
    stage = FaultyRecordings(Limits(lease=3))
    abandoned = stage.store.abandoned
    faults = iter([StoreError("no"), ZeroDivisionError()])

    async def fails_first():
        for fault in faults:
            raise fault
        return await abandoned()

    stage.store.abandoned = fails_first
    new = NewStream(stream="a" * 32, operation="another")
    await stage.store.create(new)
    stage.recordings.start_recovery()
    await asyncio.sleep(20)
    assert (await stage.store.info(new.stream)).state == "interrupted"
    await stage.recordings.aclose()


@on_virtual_clock
async def test_readers_are_told_when_their_hub_closes():
    stage = FaultyRecordings()
    info = await stage.start(lambda: endless(1000))
    new = NewStream(stream="b" * 32, operation="elsewhere")
    await stage.store.create(new)
    other = await stage.store.info(new.stream)
    readers = [asyncio.create_task(stage.read(each)) for each in (info, other) for _ in range(3)]
    await asyncio.sleep(1)
    await stage.recordings.aclose()
    results = await asyncio.gather(*readers, return_exceptions=True)
    assert results[:3] == [[(1, "0"), (2, "interrupted")]] * 3
    assert all(isinstance(result, StoreError) for result in results[3:])


@on_virtual_clock
async def test_a_tail_that_has_failed_is_not_for_new_readers():
    stage = FaultyRecordings()
    info = await stage.start(lambda: count(500))
    running = await stage.start(lambda: endless(1))
    slow = stage.recordings.read(running, Cursor(running.new.stream, 1, 0))
    await anext(slow)
    await asyncio.sleep(3)
    stage.store.failing |= {"info", "read", "subscribe"}
    await asyncio.sleep(60)
    stage.store.failing.clear()
    fresh = stage.recordings.read(running, Cursor(running.new.stream, 1, 0))
    for n in range(1, 10):
        assert (await anext(fresh)).cursor.sequence == n
    await slow.aclose()
    assert (await anext(fresh)).cursor.sequence == 10
    await fresh.aclose()
    assert len(await stage.read(info)) == 501
    await stage.recordings.aclose()
    assert not stage.recordings.readers


@on_virtual_clock
async def test_a_store_that_answers_all_but_reads_is_told_to_the_readers():
    stage = FaultyRecordings()
    info = await stage.start(lambda: endless(1))
    stage.store.failing.add("read")
    with pytest.raises(StoreError):
        async with asyncio.timeout(60):
            await stage.read(info)
    await stage.recordings.aclose()


@on_virtual_clock
async def test_what_cannot_be_decoded_fails_and_skips_nothing():
    stage = FaultyRecordings()
    new = NewStream(stream="c" * 32, operation="op")
    await stage.store.create(new)
    await stage.store.append(new.stream, 1, 1, [b"j\n%d" % n for n in range(10)])
    info = await stage.store.info(new.stream)
    seen = []

    async def read():
        async for recorded in stage.recordings.read(info, Cursor(new.stream, 1, 8)):
            seen.append(recorded.cursor.sequence)
            await asyncio.sleep(1)

    other = asyncio.create_task(stage.read(info))
    reader = asyncio.create_task(read())
    await asyncio.sleep(0.5)
    await stage.store.append(new.stream, 1, 11, [b"j\n10", b"j\n11", b"nonsense"])
    for task in (reader, other):
        with pytest.raises((ValueError, StoreError)):
            await task
    assert seen[:2] == [9, 10]
    assert seen == list(range(9, 9 + len(seen)))
    await stage.recordings.aclose()


@on_virtual_clock
async def test_a_long_stream_is_read_from_the_store_once_for_all_its_readers():
    def named(n):
        return StreamRecord("json", "n" * 5000, b"%d" % n)

    async def threes():
        for n in range(300):
            yield n
            if n % 3 == 2:
                await asyncio.sleep(1)

    stage = FaultyRecordings(record_of=named)
    info = await stage.start(threes)
    for records in await asyncio.gather(*(stage.read(info) for _ in range(20))):
        assert records == whole(300)
    assert stage.store.calls["read"] < 300  # about two for each batch, not twenty
    await stage.recordings.aclose()


@on_virtual_clock
async def test_where_a_taken_over_stream_ends_is_a_place():
    stage = FaultyRecordings(Limits(lease=3))
    for before in (0, 2):
        new = NewStream(stream=str(before) * 32, operation="op")
        await stage.store.create(new)
        await stage.store.append(new.stream, 1, 1, [b"j\n%d" % n for n in range(before)])
        await asyncio.sleep(4)
        second = await stage.store.take_over(new.stream)
        info = await stage.store.info(new.stream)
        here = Cursor.at(info, info.head)
        reading = asyncio.create_task(stage.read(info, here))
        await asyncio.sleep(1)
        await stage.store.append(
            new.stream, second, before + 1, [b"j\nnew", b"edone\n{}"], end="done"
        )
        assert await reading == [(before + 1, "new"), (before + 2, "done")]
    await stage.recordings.aclose()


@on_virtual_clock
async def test_a_deleted_stream_is_gone_for_its_readers_at_once():
    stage = FaultyRecordings()
    info = await stage.start(lambda: endless(1000))
    reading = asyncio.create_task(stage.read(info))
    await asyncio.sleep(1)
    await stage.recordings.delete(info.new.stream)
    with pytest.raises(StreamGone):
        async with asyncio.timeout(0.5):
            await reading
    await asyncio.sleep(1)
    assert not stage.recordings.producing
    await stage.recordings.aclose()


@on_virtual_clock
async def test_a_long_lease_is_no_end_of_patience():
    stage = FaultyRecordings(Limits(lease=100_000))
    info = await stage.start(lambda: count(1))
    stage.store.failing.add("append")
    await asyncio.sleep(3000)
    stage.store.failing.clear()
    await asyncio.sleep(10)
    assert await stage.read(info) == whole(1)
    await stage.recordings.aclose()


@on_virtual_clock
async def test_who_reads_a_stream_to_which_others_come_and_go():
    stage = FaultyRecordings(unread=5)
    info = await stage.start(lambda: endless(0.1))
    start = Cursor(info.new.stream, 1, 0)
    for n in range(1, 40):  # the last reader leaves at the moment at which the next one comes
        records = stage.recordings.read(info, start)
        for sequence in range(1, n):
            assert (await anext(records)).cursor.sequence == sequence
        leaving = asyncio.create_task(records.aclose())
        coming = stage.recordings.read(info, start)
        assert (await anext(coming)).cursor.sequence == 1
        await leaving
        waits = asyncio.create_task(stage.read(info))
        await asyncio.sleep(0.05)
        await coming.aclose()
        waits.cancel()
        await asyncio.wait({waits})
    assert await stage.state(info) == "running"
    await asyncio.sleep(6)
    assert await stage.state(info) == "cancelled"
    await stage.recordings.aclose()


@on_virtual_clock
async def test_nothing_is_left_when_all_is_over():
    before = asyncio.all_tasks()
    stage = FaultyRecordings(unread=1)
    streams = [await stage.start(lambda: endless(0.1)) for _ in range(5)]
    readers = [asyncio.create_task(stage.read(info)) for info in streams for _ in range(3)]
    await asyncio.sleep(1)
    for reader in readers[3:]:
        reader.cancel()
    await asyncio.sleep(3)
    states = [await stage.state(info) for info in streams]
    assert states == ["running", *["cancelled"] * 4]
    await stage.recordings.aclose()
    await asyncio.wait(readers)
    assert asyncio.all_tasks() == before
    assert not stage.recordings.readers
    assert not stage.recordings.producing


@on_virtual_clock
async def test_nothing_reaches_a_reader_before_the_store_has_acknowledged_it():
    stage = FaultyRecordings()
    gate = asyncio.Event()
    seen = []

    async def shut(payloads, end):
        if payloads:
            await gate.wait()

    async def read(info):
        async for recorded in stage.recordings.read(info, Cursor(info.new.stream, 1, 0)):
            seen.append(recorded.cursor.sequence)

    stage.store.before = shut
    info = await stage.start(lambda: count(3))
    reading = asyncio.create_task(read(info))
    await asyncio.sleep(8)
    assert seen == []
    gate.set()
    await reading
    assert seen == [1, 2, 3, 4]
    await stage.recordings.aclose()


@on_virtual_clock
async def test_a_slow_store_pauses_the_generator_within_a_bound():
    for size, most in ((10, 256), (10_000, 7)):
        stage = FaultyRecordings()
        made = 0

        async def source(size=size):
            nonlocal made
            while True:
                made += 1
                yield "x" * size

        async def shut(payloads, end):
            if payloads and not end:
                await asyncio.sleep(100)

        stage.store.before = shut
        info = await stage.start(source)
        await asyncio.sleep(8)
        assert 1 <= made <= most
        await stage.recordings.cancel(info.new.stream)
        records = await stage.read(info)
        assert [n for n, _ in records] == list(range(1, made + 2))
        await stage.recordings.aclose()


async def test_a_generator_that_never_waits_holds_up_nobody():
    made = 0

    def work():
        nonlocal made
        for n in range(300):
            time.sleep(0.002)
            made += 1
            yield n

    async def source():
        for n in work():
            yield n

    stage = FaultyRecordings()
    info = await stage.start(source)
    longest, then = 0, made
    while await stage.state(info) == "running":
        await asyncio.sleep(0)
        longest, then = max(longest, made - then), made
    assert longest < 100  # items of 2 ms each; a full batch has 256
    assert await stage.read(info) == whole(300)
    await stage.recordings.aclose()
