"""Backends of limits: concurrency and rates, also of processes that die and without their Redis."""

import asyncio
import subprocess
import sys
import uuid

import pytest
from redis.asyncio import Redis

from dual_mode_streaming.limits import MemoryLimits, RedisLimits


@pytest.fixture(params=["memory", "redis"])
async def backend(request):
    if request.param == "memory":
        made = MemoryLimits()
    else:
        url = request.getfixturevalue("redis_server").url
        made = RedisLimits(url, prefix=uuid.uuid4().hex, timeout=20)
    yield made
    await made.aclose()


async def until_free(backend, ticket: str, limits: dict[str, int]) -> None:
    """Wait for a slot: in Redis a release takes effect later."""
    async with asyncio.timeout(60):
        while await backend.acquire(ticket, limits):
            await asyncio.sleep(0)


# --- concurrency ---------------------------------------------------------------------------------


async def test_no_more_than_the_limit(backend):
    limits = {"mine": 2, "all": 3}
    assert await backend.acquire("a", limits) is None
    assert await backend.acquire("b", limits) is None
    assert await backend.acquire("c", limits) == "mine"
    assert await backend.acquire("d", {"yours": 2, "all": 3}) is None
    assert await backend.acquire("e", {"yours": 2, "all": 3}) == "all"
    backend.release("a")
    await until_free(backend, "f", limits)
    assert await backend.acquire("g", limits) == "mine"


async def test_a_refused_ticket_takes_no_slot(backend):
    assert await backend.acquire("a", {"mine": 1, "all": 2}) is None
    for ticket in "bcd":
        assert await backend.acquire(ticket, {"mine": 1, "all": 2}) == "mine"
    assert await backend.acquire("e", {"yours": 1, "all": 2}) is None


async def test_a_ticket_is_released_once(backend):
    await backend.acquire("a", {"all": 1})
    backend.release("a")
    backend.release("a")
    backend.release("never acquired")
    await until_free(backend, "b", {"all": 1})
    assert await backend.acquire("c", {"all": 1}) == "all"


async def test_keys_without_slots_are_forgotten():
    backend = MemoryLimits()
    for number in range(100):
        await backend.acquire(str(number), {f"client {number}": 1})
        backend.release(str(number))
    assert backend.taken == {}


async def test_several_processes_share_the_limits_of_a_redis(redis_server):
    prefix = uuid.uuid4().hex
    one, two = (RedisLimits(redis_server.url, prefix=prefix, timeout=20) for _ in range(2))
    assert await one.acquire("a", {"all": 1}) is None
    assert await two.acquire("b", {"all": 1}) == "all"
    await one.aclose()  # releases its slots
    assert await two.acquire("c", {"all": 1}) is None
    await two.aclose()


DIES = """
import asyncio, os, sys
from dual_mode_streaming.limits import RedisLimits

async def main():
    backend = RedisLimits(sys.argv[1], prefix=sys.argv[2], lease=0.4, timeout=20)
    assert await backend.acquire("a", {"all": 2}) is None
    os._exit(9)

asyncio.run(main())
"""


async def test_the_slots_of_a_process_that_dies_are_free_when_their_lease_ends(redis_server):
    prefix = uuid.uuid4().hex
    alive = RedisLimits(redis_server.url, prefix=prefix, lease=2, timeout=20)
    assert await alive.acquire("b", {"all": 2}) is None
    died = [sys.executable, "-c", DIES, redis_server.url, prefix]
    assert (await asyncio.to_thread(subprocess.run, died)).returncode == 9
    await until_free(alive, "c", {"all": 2})
    async with asyncio.timeout(60), Redis.from_url(redis_server.url) as redis:
        key = (await redis.keys(f"{prefix}*:all"))[0]
        for _ in range(3):  # a live process renews its slots, again and again
            before = await redis.zrange(key, 0, -1, withscores=True)
            while before == await redis.zrange(key, 0, -1, withscores=True):
                await asyncio.sleep(0)
    assert await alive.acquire("d", {"all": 2}) == "all"
    await alive.aclose()


async def test_without_its_redis_each_process_counts_for_itself(faulty_redis, caplog):
    backend = RedisLimits(faulty_redis.url, prefix=uuid.uuid4().hex, timeout=20)
    assert await backend.acquire("a", {"all": 1}) is None
    faulty_redis.kill()
    assert await backend.acquire("b", {"all": 1}) is None, "rather one too many than none"
    assert await backend.acquire("c", {"all": 1}) == "all"
    backend.release("b")
    assert await backend.acquire("d", {"all": 1}) is None
    assert "counted by this process alone" in caplog.text
    await backend.aclose()


# --- rates ---------------------------------------------------------------------------------------


async def test_no_more_requests_than_the_rate(backend):
    assert await backend.hit("mine", 2) is None
    assert await backend.hit("mine", 2) is None
    again = await backend.hit("mine", 2)
    assert 0 < again <= 60
    assert await backend.hit("yours", 2) is None


async def test_several_processes_share_the_rates_of_a_redis(redis_server):
    prefix = uuid.uuid4().hex
    one, two = (RedisLimits(redis_server.url, prefix=prefix, timeout=20) for _ in range(2))
    assert [await each.hit("mine", 2) is None for each in (one, two, one, two)] == [
        True,
        True,
        False,
        False,
    ]
    await one.aclose()
    await two.aclose()


async def test_without_its_redis_each_process_counts_its_own_rates(faulty_redis, caplog):
    backend = RedisLimits(faulty_redis.url, prefix=uuid.uuid4().hex, timeout=20)
    assert await backend.hit("mine", 1) is None
    faulty_redis.kill()
    assert await backend.hit("mine", 1) is None
    assert await backend.hit("mine", 1) is not None
    assert "counted by this process alone" in caplog.text
    await backend.aclose()
