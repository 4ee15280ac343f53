"""Places: so many and no more, given back by all who leave, also by those who die."""

import asyncio
import uuid

import pytest

from dual_mode_streaming.limits._concurrency import LocalPlaces
from dual_mode_streaming.limits._rates import LocalRates
from dual_mode_streaming.limits._redis_concurrency import RedisPlaces
from dual_mode_streaming.limits._redis_rates import RedisRates


@pytest.fixture(params=["local", "redis"])
async def places(request):
    if request.param == "local":
        made = LocalPlaces()
    else:
        url = request.getfixturevalue("redis_server").url
        made = RedisPlaces(url, prefix=uuid.uuid4().hex)
    yield made
    await made.aclose()


async def until_free(places, ticket: str, limits: dict[str, int]) -> None:
    """What is given back is free soon: Redis hears of it later."""
    async with asyncio.timeout(10):
        while await places.take(ticket, limits):
            await asyncio.sleep(0)


async def test_no_more_than_there_are(places):
    limits = {"mine": 2, "all": 3}
    assert await places.take("a", limits) is None
    assert await places.take("b", limits) is None
    assert await places.take("c", limits) == "mine"
    assert await places.take("d", {"yours": 2, "all": 3}) is None
    assert await places.take("e", {"yours": 2, "all": 3}) == "all"
    places.give_back("a")
    await until_free(places, "f", limits)
    assert await places.take("g", limits) == "mine"


async def test_what_is_refused_takes_nothing(places):
    assert await places.take("a", {"mine": 1, "all": 2}) is None
    for ticket in "bcd":
        assert await places.take(ticket, {"mine": 1, "all": 2}) == "mine"
    assert await places.take("e", {"yours": 1, "all": 2}) is None


async def test_a_ticket_is_given_back_once(places):
    await places.take("a", {"all": 1})
    places.give_back("a")
    places.give_back("a")
    places.give_back("never taken")
    await until_free(places, "b", {"all": 1})
    assert await places.take("c", {"all": 1}) == "all"


def test_places_that_are_empty_are_forgotten():
    places = LocalPlaces()

    async def come_and_go() -> None:
        for number in range(100):
            await places.take(str(number), {f"client {number}": 1})
            places.give_back(str(number))

    asyncio.run(come_and_go())
    assert not places._taken
    assert not places._tickets


async def test_several_processes_share_the_places_of_a_redis(redis_server):
    prefix = uuid.uuid4().hex
    one, two = (RedisPlaces(redis_server.url, prefix=prefix) for _ in range(2))
    assert await one.take("a", {"all": 1}) is None
    assert await two.take("b", {"all": 1}) == "all"
    await one.aclose()  # gives back what it has
    assert await two.take("c", {"all": 1}) is None
    await two.aclose()


async def test_the_places_of_a_process_that_dies_are_free_when_their_lease_is_over(redis_server):
    prefix = uuid.uuid4().hex
    dead = RedisPlaces(redis_server.url, prefix=prefix, lease=0.4)
    alive = RedisPlaces(redis_server.url, prefix=prefix, lease=0.4)
    await dead.take("a", {"all": 2})
    await alive.take("b", {"all": 2})
    dead._renewing.cancel()  # as if it had been killed
    await until_free(alive, "c", {"all": 2})
    async with asyncio.timeout(5):
        for _ in range(3):  # who lives keeps his, for many times the lease
            before = await alive._redis.zrange(f"{prefix}:{{places}}:all", 0, -1, withscores=True)
            while before == await alive._redis.zrange(
                f"{prefix}:{{places}}:all", 0, -1, withscores=True
            ):
                await asyncio.sleep(0)
    assert await alive.take("d", {"all": 2}) == "all"
    await alive.aclose()
    dead._held.clear()
    await dead.aclose()


async def test_without_its_redis_each_process_counts_for_itself(faulty_redis, caplog):
    places = RedisPlaces(faulty_redis.url, prefix=uuid.uuid4().hex, timeout=0.5)
    assert await places.take("a", {"all": 1}) is None
    faulty_redis.kill()
    assert await places.take("b", {"all": 1}) is None, "rather one too many than none"
    assert await places.take("c", {"all": 1}) == "all"
    places.give_back("b")
    assert await places.take("d", {"all": 1}) is None
    assert "counted by each process alone" in caplog.text
    await places.aclose()


# --- rates: how often ----------------------------------------------------------------------------


@pytest.fixture(params=["local", "redis"])
async def rates(request):
    if request.param == "local":
        made = LocalRates(2)
    else:
        made = RedisRates(request.getfixturevalue("redis_server").url, 2, prefix=uuid.uuid4().hex)
    yield made
    await made.aclose()


async def test_so_often_and_no_more(rates):
    assert await rates.hit("mine") is None
    assert await rates.hit("mine") is None
    again = await rates.hit("mine")
    assert 0 < again <= 60
    assert await rates.hit("yours") is None


async def test_several_processes_share_the_rates_of_a_redis(redis_server):
    prefix = uuid.uuid4().hex
    one, two = (RedisRates(redis_server.url, 2, prefix=prefix) for _ in range(2))
    assert [await each.hit("mine") is None for each in (one, two, one, two)] == [
        True,
        True,
        False,
        False,
    ]
    await one.aclose()
    await two.aclose()


async def test_without_its_redis_each_process_counts_its_own_rates(faulty_redis, caplog):
    rates = RedisRates(faulty_redis.url, 1, prefix=uuid.uuid4().hex, timeout=0.5)
    assert await rates.hit("mine") is None
    faulty_redis.kill()
    assert await rates.hit("mine") is None
    assert await rates.hit("mine") is not None
    assert "counted by each process alone" in caplog.text
    await rates.aclose()
