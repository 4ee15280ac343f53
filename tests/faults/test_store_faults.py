"""Faults of the store of recorded streams: slow, restarted, without its last entries, silent."""

import asyncio
import itertools
import json

import httpx
import pytest

from .app import items_of
from .test_faults import BOTH_IN_FULL, numbers, state_of
from .workers import Line

LARGEST = 64 * 1024
"""The bound of one append of the producer, in bytes; one item may exceed it."""


async def test_a_slow_store_pauses_the_generator_and_heartbeats_go_on(stage, reading):
    there, other = stage.all_up()
    path = "/items?seed=5&count=200&pause=0.002&size=512"
    async with httpx.AsyncClient(base_url=there.url) as http:
        reader = reading(there.url, path)
        await reader.until(50)
        headers = {"accept": "text/event-stream", "last-event-id": reader.seen[-1][0]}
        async with http.stream("GET", reader.path, headers=headers) as response:
            lines = response.aiter_lines()
            with stage.slow(0.5):
                before = (await http.get("/made")).json()["bytes"]
                beats = 0
                while beats < 3:
                    beats += await anext(lines) == ": ping"
                made = (await http.get("/made")).json()["bytes"] - before
            await lines.aclose()
    assert made <= 2 * LARGEST
    assert await reader.ended() == "done"
    assert reader.data == items_of(5, 200, 512)
    assert await state_of(other, reader.path) == 200


@BOTH_IN_FULL
async def test_a_generator_that_never_waits_is_paused_by_a_slow_store(stage, reading):
    there, _ = stage.all_up()
    async with httpx.AsyncClient(base_url=there.url) as http:
        reader = reading(there.url, "/items?count=300&pause=0&size=16000")
        await reader.until(3)
        with stage.slow(0.5):
            before = (await http.get("/made")).json()["bytes"]
            made = []
            while len(made) < 2 or made[-1] != made[-2]:
                made.append((await http.get("/made")).json()["bytes"])
                await asyncio.sleep(0.1)
        sizes = [len(item.encode()) for item in items_of(0, 300, 16000)]
        bound = 2 * (LARGEST + max(sizes))
        assert sum(sizes) - before > 2 * bound, "there was more to make"
        assert made[-1] - before <= bound
        assert await reader.ended() == "done"
        assert reader.data[-100:] == items_of(0, 300, 16000)[-100:]


@pytest.mark.parametrize("again", [0, *(pytest.param(n, marks=pytest.mark.full) for n in range(5))])
async def test_a_store_that_crashes_loses_nothing(stage, reading, again):
    async with Line(stage) as line:
        stage.all_up()
        path = "/{}?seed=9&count=120&pause=0.01"
        items, once = (reading(line.url, path.format(name)) for name in ("items", "once"))
        await items.until(30 + again)
        await once.until(30)
        stage.restart()
        assert await items.ended() == "done"
        assert items.data == items_of(9, 120)
        assert await once.ended() in ("done", "interrupted")  # if it took too long
        assert once.data == items_of(9, 120)[: len(once.data)]
        assert (once.events.outcome == "done") == (len(once.data) == 120)
        assert not items.resets
        assert not once.resets
    for worker in stage.all_up():
        assert await state_of(worker, items.path) == 200
        assert await state_of(worker, once.path) == (409 if len(once.data) < 120 else 200)


async def test_a_store_that_lost_its_end_is_told_of_and_never_read_on_from(stage, reading):
    async with Line(stage) as line:
        stage.all_up()
        path = "/items?seed=4&count=160&pause=0.01&signed=1"
        reader = reading(line.url, path)
        await reader.until(40)
        stage.mark()
        await reader.until(80)
        before = list(reader.seen)
        stage.lose_the_rest()
        assert await reader.ended() == "done"
    assert [reset["reason"] for reset in reader.resets] == ["rewritten"]
    assert len({id.split(".")[1] for id, _ in reader.seen}) == 2
    for worker in stage.all_up():
        whole = reading(worker.url, reader.path)
        assert await whole.ended() == "done"
        assert whole.seen == reader.seen
    assert numbers(whole) == [*range(160)]
    kept = {id for id, _ in whole.seen}
    gone = [id for id, _ in before if id not in kept]
    assert gone  # something was lost, and none of its ids is used for other content


async def test_lost_notifications_are_made_up_for(on_redis, reading):
    there, other = on_redis.all_up()
    reader = reading(there.url, "/items?seed=6&count=200&pause=0.005")
    await reader.until(5)
    joined = reading(other.url, reader.path)
    for count in itertools.count(20, 20):
        await joined.until(count)
        if joined.events.outcome is not None or count > 180:
            break
        assert on_redis.redis.ask("CLIENT KILL TYPE pubsub").startswith(":")
    for each in (reader, joined):
        assert await each.ended() == "done"
        assert each.data == items_of(6, 200)


async def test_a_stop_during_a_fault_of_the_store_is_the_end_for_all(stage, reading):
    there, other = stage.all_up()
    reader = reading(there.url, "/items?seed=8&count=250&pause=0.005")
    await reader.until(20)
    joined = reading(other.url, reader.path)
    await joined.until(20)
    async with httpx.AsyncClient(base_url=other.url, timeout=10) as http:
        with stage.slow(0.3):
            stopping = asyncio.create_task(http.post(f"{reader.path}/cancel"))
            await asyncio.sleep(0)
        stopped = await stopping
    assert stopped.json()["state"] == "cancelled"
    for each in (reader, joined):
        assert await each.ended() == "cancelled"
        assert each.data == items_of(8, 250)[: len(each.data)]
        assert json.loads(each.events.end_data)["items"] == len(each.data)
    assert reader.seen == joined.seen
