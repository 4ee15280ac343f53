"""The Redis store: conformance, faults of the server, writers that stop, and the index."""

import asyncio
import logging
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Connection, Redis

from dual_mode_streaming.stores import (
    AppendResult,
    Limits,
    NewStream,
    RedisStore,
    Store,
    StoreError,
    StoreFull,
    open_store,
)
from dual_mode_streaming.testing import StoreConformance

from .redis_server import RedisServer, free_port

PREFIX = "test"
NEVER = 3600.0
"""A watchdog that calls no subscriber during a test."""


class TestRedisStore(StoreConformance):
    @pytest.fixture(autouse=True)
    def _own_prefix(self, redis_server: RedisServer) -> None:
        self.url = redis_server.url
        self.prefix = secrets.token_hex(4)

    async def open(self, limits: Limits) -> Store:
        return RedisStore(self.url, limits, prefix=self.prefix, watchdog=NEVER)


@asynccontextmanager
async def store_of(
    server: RedisServer,
    *,
    timeout: float = 5.0,
    watchdog: float = 5.0,
    prefix: str = PREFIX,
    **limits: Any,
) -> AsyncIterator[RedisStore]:
    store = RedisStore(
        server.url, Limits(**limits), prefix=prefix, timeout=timeout, watchdog=watchdog
    )
    try:
        yield store
    finally:
        await store.aclose()


def a_new() -> NewStream:
    return NewStream(stream=secrets.token_hex(16), operation="test")


def numbered(start: int, stop: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(start, stop)]


async def started() -> None:
    """Let the tasks that were just created send their calls."""
    for _ in range(50):
        await asyncio.sleep(0)


async def keys_of(server: RedisServer, pattern: str) -> list[Any]:
    async with Redis.from_url(server.url) as client:
        return await client.keys(pattern)


async def until(is_so: Callable[[], Any]) -> None:
    """Wait for another process."""
    async with asyncio.timeout(60):
        while not await is_so():
            await asyncio.sleep(0.02)


async def appended(
    store: RedisStore, stream: str, first: int, payloads: list[bytes]
) -> AppendResult:
    """Repeat an append while the store raises StoreError."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await store.append(stream, 1, first, payloads)
            except StoreError:
                await asyncio.sleep(0.02)


# Subscribers


async def test_subscribers_are_called_after_their_connection_was_killed(redis_server):
    async with store_of(redis_server) as store:
        stream = await store.create(a_new())
        changed = asyncio.Event()
        async with store.subscribe(stream, changed.set):
            for number in range(1, 6):
                assert int(redis_server.ask("CLIENT KILL TYPE pubsub").lstrip(":")) >= 1
                await store.append(stream, 1, number, [b"x"])
                changed.clear()
                await asyncio.wait_for(changed.wait(), 60)


async def test_a_lost_message_is_made_up_for_by_the_watchdog(redis_server):
    async with store_of(redis_server, watchdog=0.2) as store:
        stream = await store.create(a_new())
        rings: asyncio.Queue[None] = asyncio.Queue()
        async with store.subscribe(stream, lambda: rings.put_nowait(None)):
            for _ in range(4):
                await asyncio.wait_for(rings.get(), 60)


async def test_a_thousand_subscribers_share_one_connection(redis_server):
    async with store_of(redis_server, watchdog=NEVER) as store, AsyncExitStack() as stack:
        stream, others = await store.create(a_new()), [secrets.token_hex(16) for _ in range(500)]
        called: set[int] = set()
        for number in range(1000):
            await stack.enter_async_context(
                store.subscribe(stream, lambda number=number: called.add(number))
            )
        await asyncio.gather(
            *(stack.enter_async_context(store.subscribe(s, lambda: None)) for s in others)
        )
        clients = redis_server.ask("CLIENT LIST TYPE pubsub").strip().splitlines()
        assert len(clients) == 1
        assert " sub=501 " in clients[0]
        called.clear()
        await store.append(stream, 1, 1, [b"x"])

        async def all_called() -> bool:
            return len(called) == 1000

        await until(all_called)


async def test_a_channel_without_subscribers_is_left(redis_server):
    async with store_of(redis_server, watchdog=0.2) as store:
        stream, kept = secrets.token_hex(16), secrets.token_hex(16)

        async def is_left() -> bool:
            return " sub=1 " in redis_server.ask("CLIENT LIST TYPE pubsub")

        async with store.subscribe(kept, lambda: None):
            for _ in range(3):
                async with store.subscribe(stream, lambda: None):
                    assert " sub=2 " in redis_server.ask("CLIENT LIST TYPE pubsub")
                await until(is_left)


async def test_a_subscriber_that_fails_does_not_silence_the_others(redis_server, caplog):
    async with store_of(redis_server, watchdog=NEVER) as store:
        stream = await store.create(a_new())
        changed = asyncio.Event()
        async with store.subscribe(stream, lambda: 1 // 0), store.subscribe(stream, changed.set):
            changed.clear()
            await store.append(stream, 1, 1, [b"x"])
            await asyncio.wait_for(changed.wait(), 60)
    assert "a subscriber of a stream failed" in caplog.text


async def test_a_server_that_falls_silent_is_connected_to_anew(faulty_redis, caplog):
    async with store_of(faulty_redis, watchdog=0.1) as store:
        stream = await store.create(a_new())
        changed = asyncio.Event()
        async with store.subscribe(stream, changed.set):

            async def is_given_up() -> bool:
                return "is lost: TimeoutError" in caplog.text

            caplog.set_level(logging.INFO)
            faulty_redis.signal(signal.SIGSTOP)
            await until(is_given_up)
            faulty_redis.signal(signal.SIGCONT)
            assert await store.append(stream, 1, 1, [b"x"]) is AppendResult.OK
            changed.clear()
            await asyncio.wait_for(changed.wait(), 60)


# Faults of the server


async def test_a_killed_server_keeps_what_was_acknowledged(faulty_redis):
    async with store_of(faulty_redis) as patient:
        stream = await patient.create(a_new())
    async with store_of(faulty_redis, timeout=0.5) as store:
        changed = asyncio.Event()
        async with store.subscribe(stream, changed.set):
            assert await appended(store, stream, 1, numbered(1, 11)) is AppendResult.OK
            faulty_redis.kill()
            with pytest.raises(StoreError, match=r"127\.0\.0\.1"):
                await store.append(stream, 1, 11, numbered(11, 21))
            with pytest.raises(StoreError):
                async with store.subscribe(secrets.token_hex(16), changed.set):
                    pass
            again = asyncio.create_task(appended(store, stream, 11, numbered(11, 21)))
            faulty_redis.start()
            assert await again is AppendResult.OK
            assert await appended(store, stream, 11, numbered(11, 21)) is AppendResult.OK
            changed.clear()
            await asyncio.wait_for(changed.wait(), 60)
        assert [entry.payload for entry in await store.read(stream, 0)] == numbered(1, 21)


async def test_a_server_that_lost_its_tail_gives_a_gap_and_then_a_new_generation(faulty_redis):
    async with store_of(faulty_redis, lease=0.3) as store:
        stream = await store.create(a_new())
        await store.append(stream, 1, 1, numbered(1, 11))
        (log,) = (faulty_redis.folder / "appendonlydir").glob("*.incr.aof")
        length = log.stat().st_size
        await store.append(stream, 1, 11, numbered(11, 21))
        faulty_redis.kill()
        with log.open("r+b") as file:
            file.truncate(length + 40)  # in the middle of the second append
        faulty_redis.start()
        assert await appended(store, stream, 21, numbered(21, 22)) is AppendResult.GAP
        taken = []

        async def is_taken() -> bool:
            taken.append(await store.take_over(stream))
            return taken[-1] is not None

        await until(is_taken)
        second = taken[-1]
        assert second > 1
        assert await store.append(stream, 1, 11, numbered(11, 12)) is AppendResult.FENCED
        assert await store.append(stream, second, 11, [b"other"] * 20) is AppendResult.OK
        info = await store.info(stream)
        assert info.generations == ((1, 1), (second, 11))
        assert info.has(1, 10)
        assert info.has(second, 11)
        assert not info.has(1, 15)
        assert [e.generation for e in await store.read(stream, 0)] == [1] * 10 + [second] * 20


async def test_a_paused_server_is_waited_for_or_told_and_the_append_can_be_made_again(faulty_redis):
    async with store_of(faulty_redis) as patient, store_of(faulty_redis, timeout=0.2) as hasty:
        stream = await patient.create(a_new())
        await hasty.append(stream, 1, 1, ())
        faulty_redis.signal(signal.SIGSTOP)
        try:
            waiting = asyncio.create_task(patient.append(stream, 1, 1, numbered(1, 5)))
            with pytest.raises(StoreError, match="has not answered"):
                await hasty.append(stream, 1, 1, numbered(1, 5))
            assert not waiting.done()
        finally:
            faulty_redis.signal(signal.SIGCONT)
        assert await waiting is AppendResult.OK
        assert await appended(hasty, stream, 1, numbered(1, 5)) is AppendResult.OK
        assert [entry.payload for entry in await patient.read(stream, 0)] == numbered(1, 5)


async def test_a_server_that_may_not_write_is_told_of_and_nothing_is_half_done(faulty_redis):
    async with store_of(faulty_redis) as store:
        stream = await store.create(a_new())
        faulty_redis.ask("CONFIG SET maxmemory 1")
        with pytest.raises(StoreError, match="maxmemory"):
            await store.append(stream, 1, 1, numbered(1, 5))
        faulty_redis.ask("CONFIG SET maxmemory 0")
        faulty_redis.ask("REPLICAOF 127.0.0.1 1")
        with pytest.raises(StoreError, match="read only"):
            await store.append(stream, 1, 1, numbered(1, 5))
        assert (await store.info(stream)).head == 0
        faulty_redis.ask("REPLICAOF NO ONE")
        assert await store.append(stream, 1, 1, numbered(1, 5)) is AppendResult.OK
        faulty_redis.ask("SCRIPT FLUSH")
        assert len(await store.read(stream, 0)) == 4


async def test_what_is_trimmed_by_hand_is_seen(redis_server):
    async with store_of(redis_server) as store:
        stream = await store.create(a_new())
        await store.append(stream, 1, 1, numbered(1, 11))
        redis_server.ask(f"XTRIM {PREFIX}:{{{stream}}}:data MINID 4-0")
        info = await store.info(stream)
        assert (info.earliest, info.head) == (4, 10)
        assert [entry.sequence for entry in await store.read(stream, 0)] == list(range(4, 11))
        redis_server.ask(f"DEL {PREFIX}:{{{stream}}}:data")
        assert (await store.info(stream)).earliest == 11
        assert await store.append(stream, 1, 11, numbered(11, 12)) is AppendResult.OK
        assert [entry.sequence for entry in await store.read(stream, 0)] == [11]


# Writers


async def test_who_gives_up_waiting_holds_up_nobody_and_harms_nobody(faulty_redis):
    async with store_of(faulty_redis) as store:
        streams = [await store.create(a_new()) for _ in range(20)]
        faulty_redis.ask("CLIENT PAUSE 300 ALL")
        calls = [asyncio.create_task(store.append(s, 1, 1, [b"x"])) for s in streams]
        await started()
        for call in calls[::2]:
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert results[1::2] == [AppendResult.OK] * 10
        assert all(isinstance(answer, asyncio.CancelledError) for answer in results[::2])
        assert await store.append(streams[0], 1, 1, [b"x"]) is AppendResult.OK
        assert len(await store.read(streams[0], 0)) == 1


async def test_calls_under_way_fail_when_the_store_is_closed(faulty_redis):
    async with store_of(faulty_redis) as store:
        stream = await store.create(a_new())
        faulty_redis.ask("CLIENT PAUSE 300 ALL")
        calls = [asyncio.create_task(store.append(stream, 1, 1, [b"x"])) for _ in range(3)]
        calls += [asyncio.create_task(store.append(stream, 1, 1, ())) for _ in range(3)]
        await started()
        await store.aclose()
        for answer in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(answer, StoreError)
            assert "closed" in str(answer)


WRITER = """
import asyncio, sys
from dual_mode_streaming.stores import Limits, RedisStore, AppendResult

async def main(url, prefix, stream):
    store = RedisStore(url, Limits(lease=0.4), prefix=prefix)
    result, number = AppendResult.OK, 0
    while result is AppendResult.OK:
        number += 1
        result = await store.append(stream, 1, number, [b"old %d" % number])
        print(result.name, number, flush=True)
        await asyncio.sleep(0.005)
    await store.aclose()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_stopped_writer_that_goes_on_after_a_takeover_is_fenced(redis_server):
    async with store_of(redis_server, lease=0.4) as store:
        stream = await store.create(a_new())
        arguments = ["-c", WRITER, redis_server.url, PREFIX, stream]
        with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE) as writer:
            try:
                await asyncio.to_thread(writer.stdout.readline)
                writer.send_signal(signal.SIGSTOP)
                taken = []

                async def is_taken() -> bool:
                    taken.append(await store.take_over(stream))
                    return taken[-1] is not None

                await until(is_taken)
                head = (await store.info(stream)).head
                assert await store.append(stream, taken[-1], head + 1, [b"new"]) is AppendResult.OK
                writer.send_signal(signal.SIGCONT)
                last = (await asyncio.to_thread(writer.stdout.read)).split(b"\n")[-2]
                assert last.startswith(b"FENCED")
                assert writer.wait(60) == 0
            finally:
                writer.kill()
        entries = await store.read(stream, 0)
        assert [entry.sequence for entry in entries] == list(range(1, head + 2))
        assert entries[-1].payload == b"new"


async def test_a_stream_that_everybody_forgot_is_gone_in_the_end(redis_server):
    prefix = secrets.token_hex(4)
    async with store_of(redis_server, prefix=prefix, lease=1, retention=1, streams=1) as store:
        stream = await store.create(a_new(), "key")
        await store.append(stream, 1, 1, [b"x"])

        async def is_gone() -> bool:
            return await store.info(stream) is None

        await until(is_gone)
        assert redis_server.ask(f"EXISTS {prefix}:{{{stream}}}:data") == ":0"
        other = await store.create(a_new(), "key")  # its quota and its key are free again
        assert other != stream
        assert redis_server.ask(f"ZCARD {prefix}:{{index}}:running") == ":1"
        assert redis_server.ask(f"HLEN {prefix}:{{index}}:keys") == ":1"
        assert redis_server.ask(f"HGET {prefix}:{{index}}:sizes total") == "0"


# The index


async def test_a_key_whose_stream_is_missing_is_taken_by_one_of_many(redis_server):
    prefix = secrets.token_hex(4)
    async with (
        store_of(redis_server, prefix=prefix) as one,
        store_of(redis_server, prefix=prefix) as two,
    ):
        stores = [one, two] * 10
        first = set(await asyncio.gather(*(store.create(a_new(), "c") for store in stores)))
        assert len(first) == 1
        redis_server.ask(f"DEL {prefix}:{{{first.copy().pop()}}}:meta")
        second = set(await asyncio.gather(*(store.create(a_new(), "c") for store in stores)))
        assert len(second) == 1
        assert first != second
        metadata = await keys_of(redis_server, f"{prefix}:*:meta")
        assert len(metadata) == 1  # nothing is left of the other streams


async def test_a_wrong_index_is_put_right(redis_server):
    prefix = secrets.token_hex(4)
    running = f"{prefix}:{{index}}:running"
    async with store_of(redis_server, prefix=prefix, streams=3) as store:
        ended = await store.create(a_new())
        await store.append(ended, 1, 1, [b"x"], end="done")
        alive = await store.create(a_new())
        redis_server.ask(f"ZADD {running} 1 {ended} 1 {alive} 1 {secrets.token_hex(16)}")
        assert await store.abandoned() == []
        assert redis_server.ask(f"ZCARD {running}") == ":1"
        assert redis_server.ask(f"ZCARD {prefix}:{{index}}:ended") == ":1"
        redis_server.ask(f"ZADD {running} 1 {secrets.token_hex(16)} 1 {secrets.token_hex(16)}")
        for _ in range(2):
            await store.create(a_new())
        with pytest.raises(StoreFull, match="3 streams"):
            await store.create(a_new())
        metadata = await keys_of(redis_server, f"{prefix}:*:meta")
        assert len(metadata) == 3


async def test_no_script_has_keys_of_two_slots_of_a_cluster(tmp_path_factory):
    flags = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    server = RedisServer(tmp_path_factory.mktemp("cluster"), *flags)
    server.start()
    try:
        server.ask("CLUSTER ADDSLOTSRANGE 0 16383")

        async def is_ready() -> bool:
            return "cluster_state:ok" in server.ask("CLUSTER INFO")

        await until(is_ready)
        async with store_of(server, lease=0.1, streams=2) as store:
            stream = await store.create(a_new(), "key")
            await store.append(stream, 1, 1, numbered(1, 4))
            await store.cancel(stream)

            async def is_abandoned() -> bool:
                return stream in await store.abandoned()

            await until(is_abandoned)
            second = await store.take_over(stream)
            assert (
                await store.append(stream, second, 4, numbered(4, 5), end="cancelled")
                is AppendResult.OK
            )
            assert len(await store.read(stream, 0)) == 4
            for _ in range(2):
                await store.create(a_new())
            assert await store.info(stream) is None
            await store.delete(stream)
    finally:
        server.kill()


async def test_beyond_the_bytes_of_all_what_ended_is_forgotten(redis_server):
    prefix = secrets.token_hex(4)
    async with store_of(redis_server, prefix=prefix, total_bytes=1000) as store:
        ended = await store.create(a_new())
        await store.append(ended, 1, 1, [b"x" * 600], end="done")
        large = await store.create(a_new())
        await store.append(large, 1, 1, [b"x" * 600])
        small = await store.create(a_new())
        assert await store.info(ended) is None
        await store.append(small, 1, 1, [b"x" * 600])
        with pytest.raises(StoreFull, match="1200 bytes"):
            await store.create(a_new())
        await store.delete(large)
        await store.create(a_new())


# Cost, error messages, closing


async def test_a_thousand_idle_streams_cost_next_to_nothing(faulty_redis):
    async with store_of(faulty_redis) as store, AsyncExitStack() as stack:
        streams = await asyncio.gather(*(store.create(a_new()) for _ in range(1000)))
        subscriptions = (store.subscribe(stream, lambda: None) for stream in streams)
        await asyncio.gather(*(stack.enter_async_context(context) for context in subscriptions))
        faulty_redis.ask("CONFIG RESETSTAT")
        await asyncio.sleep(1)  # the time that is measured
        calls = re.findall(r"calls=(\d+)", faulty_redis.ask("INFO commandstats"))
        assert sum(map(int, calls)) <= 5
        await store.append(streams[0], 1, 1, ())  # Redis has the script from here on
        faulty_redis.ask("CONFIG RESETSTAT")
        await asyncio.gather(*(store.append(stream, 1, 1, ()) for stream in streams))
        statistics = faulty_redis.ask("INFO commandstats")
        assert "cmdstat_evalsha:calls=1000," in statistics  # one script each, and nothing else


@pytest.mark.parametrize(
    "address",
    [
        "redis://:s3cr3t@127.0.0.1:1",
        "redis://u:s3cr3t@no-such-host.invalid",
        "unix:///no/s?password=s3cr3t",
    ],
)
async def test_a_failure_names_the_place_and_not_the_password(address):
    store = RedisStore(address, timeout=0.5)
    with pytest.raises(StoreError) as caught:
        await store.info(secrets.token_hex(16))
    assert re.search(r"127.0.0.1:1|no-such-host|/no/s", str(caught.value))
    assert "s3cr3t" not in str(caught.value)
    await store.aclose()


async def test_a_wrong_password_is_not_told(redis_server):
    store = RedisStore(redis_server.url.replace("//", "//nobody:s3cr3t@"))
    with pytest.raises(StoreError) as caught:
        await store.info(secrets.token_hex(16))
    assert "s3cr3t" not in str(caught.value)
    await store.aclose()


@pytest.mark.parametrize(
    "url", ["redis://u:s3/cr3t@host", "http://s3/cr3t", "redis://s3/cr3t?db=x"]
)
async def test_what_is_no_url_is_refused_and_not_repeated(url):
    with pytest.raises(ValueError, match="store") as caught:
        RedisStore(url)
    assert "cr3t" not in str(caught.value)


def test_a_prefix_is_plain():
    with pytest.raises(ValueError, match="prefix"):
        RedisStore("redis://host", prefix="{x}")


async def test_it_is_chosen_by_its_address(redis_server):
    for address in (redis_server.url, f"unix://{redis_server.folder}/socket"):
        store = open_store(address)
        assert isinstance(store, RedisStore)
        assert await store.info(secrets.token_hex(16)) is None
        await store.aclose()
    assert isinstance(open_store("rediss://host"), RedisStore)


def test_an_address_that_is_no_store_is_refused_without_its_password():
    with pytest.raises(
        ValueError, match=r"^the address of a store must be memory, sqlite:PATH or"
    ) as no:
        open_store("postgres://user:secret@host")
    assert "secret" not in str(no.value)


def test_without_redis_py_it_is_said_what_to_install():
    program = (
        "import sys; sys.modules['redis'] = None\n"
        "from dual_mode_streaming.stores import open_store\n"
        "try: open_store('redis://host')\n"
        "except ValueError as error: print(error)"
    )
    program_run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "dual-mode-streaming[redis]" in program_run.stdout


async def test_it_is_closed_twice_and_nothing_is_left(redis_server):
    before = asyncio.all_tasks()
    store = RedisStore(redis_server.url)
    await store.aclose()
    await store.aclose()
    with pytest.raises(StoreError, match="closed"):
        await store.info(secrets.token_hex(16))
    store = RedisStore(redis_server.url)
    async with store.subscribe(secrets.token_hex(16), lambda: None):
        await store.aclose()
    assert asyncio.all_tasks() == before


async def test_what_is_published_after_a_restart_has_another_generation(
    faulty_redis: RedisServer,
) -> None:
    """The Redis may have lost its last entries: their cursors must not stand for new ones."""
    async with store_of(faulty_redis) as store:
        new = NewStream(stream="a" * 32, operation="test", lifetime=3600, generation=7)
        stream = await store.create(new)
        assert (await store.publish(stream, [b"1", b"2"])).generation == 7
        faulty_redis.kill()
        (log,) = (faulty_redis.folder / "appendonlydir").glob("*.incr.aof")
        length = log.stat().st_size
        faulty_redis.start()
        lost = (await store.publish(stream, [b"lost", b"lost", b"lost"])).generation
        faulty_redis.kill()
        with log.open("r+b") as file:
            file.truncate(length)
        faulty_redis.start()
        first, second = [await store.publish(stream, [b"new"]) for _ in range(2)]
        assert 7 < first.generation == second.generation != lost > 7
        info = await store.info(stream)
        assert info is not None
        assert info.generations == ((7, 1), (first.generation, 3))
        assert info.has(7, 2)
        assert not info.has(7, 3)
        assert not info.has(lost, 3)


async def test_a_subscriber_that_comes_while_it_connects_waits(redis_server, caplog, monkeypatch):
    """Old servers refuse a part of the handshake, and its answers were mixed up with others."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    send = Connection.send_command

    async def send_command(self, *arguments, **options):
        if arguments[:2] == ("CLIENT", "SETINFO"):
            begun.set()
            await go_on.wait()
        await send(self, *arguments, **options)

    async def follow(store, stream):
        async with store.subscribe(stream, lambda: None):
            pass

    async with asyncio.timeout(30), store_of(redis_server) as store:
        monkeypatch.setattr(Connection, "send_command", send_command)
        tasks = [asyncio.create_task(follow(store, secrets.token_hex(16)))]
        await begun.wait()
        tasks += [asyncio.create_task(follow(store, secrets.token_hex(16))) for _ in range(3)]
        for _ in range(5):
            await asyncio.sleep(0)  # they wait for their subscriptions
        go_on.set()
        await asyncio.gather(*tasks)
    assert not [record for record in caplog.records if "lost" in record.message]
