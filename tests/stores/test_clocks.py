"""Steps of the wall clock: they end no stream that has a writer, and hide none that has lost it."""

import asyncio
import secrets
import shutil
import struct
import subprocess
import time

import pytest

from dual_mode_streaming.stores import Limits, NewStream, RedisStore, SQLiteStore
from dual_mode_streaming.stores._redis_clock import ServerClock
from tests.conftest import not_available

from .redis_server import RedisServer

STEPS = pytest.mark.parametrize("step", [-86_400.0, -60.0, 60.0, 86_400.0])


@STEPS
async def test_a_step_of_the_wall_clock_ends_no_lease_of_a_file(tmp_path, monkeypatch, step):
    real = time.time
    store = SQLiteStore(tmp_path / "file", Limits(lease=30, retention=1e6))
    stream = await store.create(NewStream(stream=secrets.token_hex(16), operation=""))
    for module in ("_sqlite_tables", "_sqlite_reader"):
        monkeypatch.setattr(f"dual_mode_streaming.stores.{module}.time", lambda: real() + step)
    info = await store.info(stream)
    assert 25 < info.lease <= 30
    assert await store.abandoned() == []
    assert await store.take_over(stream) is None
    await store.aclose()


@STEPS
async def test_a_step_of_the_wall_clock_hides_no_lost_writer_of_a_file(tmp_path, monkeypatch, step):
    real = time.time
    store = SQLiteStore(tmp_path / "file", Limits(lease=0.05, retention=1e6))
    stream = await store.create(NewStream(stream=secrets.token_hex(16), operation=""))
    for module in ("_sqlite_tables", "_sqlite_reader"):
        monkeypatch.setattr(f"dual_mode_streaming.stores.{module}.time", lambda: real() + step)
    await asyncio.sleep(0.1)
    assert await store.abandoned() == [stream]
    assert await store.take_over(stream)
    await store.aclose()


async def test_a_lease_ends_with_the_start_of_the_system(tmp_path, monkeypatch):
    store = SQLiteStore(tmp_path / "file", Limits(lease=30))
    stream = await store.create(NewStream(stream=secrets.token_hex(16), operation=""))
    for module in ("_sqlite_tables", "_sqlite_reader"):
        monkeypatch.setattr(f"dual_mode_streaming.stores.{module}.boot", lambda: "another")
    assert await store.abandoned() == [stream]
    assert (await store.info(stream)).is_abandoned
    assert await store.take_over(stream)
    assert not (await store.info(stream)).is_abandoned
    await store.aclose()


def test_after_a_step_of_the_clock_of_redis_no_lease_is_over_for_a_while(monkeypatch):
    monotonic = 1000.0
    monkeypatch.setattr("dual_mode_streaming.stores._redis_clock.monotonic", lambda: monotonic)
    for step in (-60_000, 60_000):
        clock, now = ServerClock(10), 5_000_000
        assert clock.left(now + 4000, 4000) == 4
        assert clock.left(now - 1, -1) < 0
        left = 4000 - step
        assert clock.left(now + 4000, left) == 10  # it is not known now
        monotonic += 9
        assert clock.left(now + 4000, left - 9000) == 10
        monotonic += 2
        assert clock.left(now + 4000, left - 11_000) <= 0  # its writer has not renewed it
        renewed = now + step + 11_000 + 8000
        assert clock.left(renewed, 8000) == 8
        assert clock.was_set_back == (step < 0)


WALL = """
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>
static volatile long *offset;
__attribute__((constructor)) static void start(void) {
    offset = mmap(0, 8, PROT_READ, MAP_SHARED, open(getenv("WALL"), O_RDONLY), 0);
}
int gettimeofday(struct timeval *now, void *zone) {
    long result = syscall(SYS_gettimeofday, now, zone);
    if (offset) now->tv_sec += *offset;
    return result;
}
"""
"""A wall clock that is set by the file of the variable WALL, for the calls that Redis makes."""


@pytest.mark.full
@pytest.mark.parametrize("step", [-3600, -5, 5, 3600])
async def test_a_set_clock_of_redis_ends_no_stream_and_hides_no_lost_writer(tmp_path, step):
    """A real Redis, whose wall clock is set while it runs."""
    compiler = shutil.which("cc") or not_available("cc", ci_has_it=False)
    wall, library = tmp_path / "wall", tmp_path / "wall.so"
    (tmp_path / "wall.c").write_text(WALL)
    wall.write_bytes(bytes(8))
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", library, tmp_path / "wall.c"], check=True, timeout=60
    )
    environment = {"LD_PRELOAD": str(library), "WALL": str(wall)}
    server = RedisServer(tmp_path, environment=environment)
    server.start()
    lease = 1.5
    store, other = (RedisStore(server.url, Limits(lease=lease)) for _ in range(2))
    try:
        living, dead = [
            await store.create(NewStream(stream=secrets.token_hex(16), operation=""))
            for _ in range(2)
        ]
        assert await other.abandoned() == []
        with wall.open("r+b") as offset:
            offset.write(struct.pack("q", step))
        told = int(server.ask("EVAL \"return redis.call('TIME')[1]\" 0"))
        assert abs(told - time.time() - step) < 2
        began, found = time.monotonic(), None
        while found is None:
            assert await other.take_over(living) is None
            assert living not in await other.abandoned()
            await store.append(living, 1, 1, ())
            if dead in await other.abandoned():
                found = await other.take_over(dead)
            await asyncio.sleep(lease / 5)
        assert time.monotonic() - began < 3 * lease
    finally:
        await store.aclose()
        await other.aclose()
        server.kill()
