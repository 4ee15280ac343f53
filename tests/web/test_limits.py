"""What ends an answer, or refuses it, so that no client and no source can have it all."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator

import pytest
from fastapi import Depends, FastAPI, Request

from dual_mode_streaming import Admission, drain, dual_mode, end_at, install

from .asgi import Client, get, on_virtual_clock

STREAM, LINES, BATCH = "text/event-stream", "application/jsonl", "application/json"


def app_of(function, **options) -> FastAPI:
    app = FastAPI()
    install(app)
    app.get("/")(dual_mode(**options)(function))
    return app


async def waits() -> AsyncIterator[int]:
    yield 1
    await asyncio.Event().wait()


@on_virtual_clock
async def test_a_stream_without_items_is_ended():
    answer = await get(app_of(waits, idle_timeout=0.05, heartbeat=0.01))
    assert ": ping" in answer.body.decode(), "heartbeats are no items"
    problem = json.loads(answer.events[-1].data)
    assert (answer.events[-1].event, problem["status"]) == ("error", 503)
    assert "idle timeout" in problem["detail"]
    assert ".end" not in answer.body.decode(), "its reader may come again"


@on_virtual_clock
async def test_items_keep_a_stream_alive():
    async def source() -> AsyncIterator[int]:
        for number in range(4):
            await asyncio.sleep(40)
            yield number

    answer = await get(app_of(source, idle_timeout=120), timeout=1000)
    assert answer.events[-1].event == "done"


@on_virtual_clock
async def test_the_longest_duration_is_shorter_by_chance_and_never_longer():
    app = app_of(waits, max_duration=10)

    async def duration() -> float:
        await get(app, timeout=100)
        return asyncio.get_running_loop().time()

    drawn = await asyncio.gather(*(duration() for _ in range(200)))
    assert 9 <= min(drawn) < 9.25
    assert 9.75 < max(drawn) <= 10


@pytest.mark.parametrize("accept", [STREAM, LINES])
@pytest.mark.parametrize("before", [0, 2])
async def test_an_item_that_is_too_large_is_an_error(accept, before):
    async def source() -> AsyncIterator[str]:
        for _ in range(before):
            yield "small"
        yield "x" * 25_000  # less than what leaves in one send

    app = app_of(source, event_bytes=20_000)
    client = Client(app, accept=accept)
    if accept == LINES:
        with pytest.raises(Exception, match="failed after its start"):
            await client.run()
        assert not client.complete
        assert client.body.count(b"\n") == before
    else:
        await client.run()
        assert [event.event for event in client.events] == [None] * before + ["error"]
        assert "exceeds the 20000" in json.loads(client.events[-1].data)["detail"]
    assert len(client.body) < 1000


async def test_an_answer_ends_with_its_credentials():
    def checked(request: Request) -> None:
        end_at(request, time.time() + 3600)
        end_at(request, time.time() + 0.5)

    app = FastAPI(dependencies=[Depends(checked)])
    install(app)
    app.get("/")(dual_mode(waits))
    app.get("/feed")(dual_mode(feed=True)(waits))
    answer = await get(app)
    assert json.loads(answer.events[-1].data)["status"] == 401
    assert ".end" not in answer.body.decode()
    batch = await get(app, accept=BATCH)
    assert batch.status == 401
    assert batch.headers["www-authenticate"].startswith("Bearer")
    assert (await get(app, "/feed")).complete


def test_what_would_end_no_answer_says_so():
    request = Request({"type": "http", "headers": []})
    with pytest.raises(RuntimeError, match="call install"):
        end_at(request, time.time())


async def test_the_readers_of_a_feed_are_told_to_come_again_each_at_a_time_of_its_own():
    app = app_of(waits, feed=True)
    clients = [Client(app) for _ in range(8)]
    async with contextlib.AsyncExitStack() as stack:
        for client in clients:
            await stack.enter_async_context(client.running())
            await client.until(b"data: 1\n")
        await drain(app)
    hints = [int(client.body.rpartition(b"retry: ")[2]) for client in clients]
    assert all(1000 <= hint < 3000 for hint in hints)
    assert len(set(hints)) > 1
    assert not any(b".end" in client.body for client in clients)


@on_virtual_clock
async def test_a_drain_is_spread_over_its_time():
    app, loop = app_of(waits), asyncio.get_running_loop()
    ends: list[float] = []
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(20):
            client = await stack.enter_async_context(Client(app).running())
            await client.until(b"data: 1\n")
            client.task.add_done_callback(lambda _: ends.append(loop.time()))
        await drain(app)
    assert ends[-1] - ends[0] >= 0.03, "not all at once"


# --- how many may be open ------------------------------------------------------------------------


def bounded(**limits) -> FastAPI:
    app = FastAPI()
    install(app, admission=Admission(**limits))
    app.get("/")(dual_mode(waits))
    app.get("/recorded")(dual_mode(record=True)(waits))
    return app


async def refused(client: Client) -> tuple[int, str, dict[str, object]]:
    await client.run()
    return client.status, client.headers["retry-after"], json.loads(client.body)


@pytest.mark.parametrize("path", ["/", "/recorded"])
@pytest.mark.parametrize("accept", [STREAM, LINES, BATCH])
async def test_beyond_the_places_there_are_it_is_503(path, accept):
    app = bounded(streams=1)
    async with app.router.lifespan_context(app):
        first = Client(app, path)
        async with first.running():
            await first.until(b"data: 1\n")
            status, wait, problem = await refused(Client(app, path, accept=accept))
            assert (status, wait) == (503, "1")
            assert "all 1 streams are taken" in str(problem["detail"])
            first.leave()
        again = Client(app, path)
        async with again.running():
            await again.until(b"data: 1\n")
            again.leave()


async def test_beyond_a_client_s_places_it_is_429_and_others_are_served():
    app = bounded(streams=3, client_streams=1, client=lambda asks: asks.headers.get("user", "?"))
    mine, other = [("user", "mine")], [("user", "other")]
    first, second = Client(app, headers=mine), Client(app, headers=other)
    async with first.running(), second.running():
        await first.until(b"data: 1\n")
        await second.until(b"data: 1\n")
        status, wait, problem = await refused(Client(app, headers=mine))
        assert (status, wait) == (429, "1")
        assert "1 answers to you are open" in str(problem["detail"])
        third = Client(app)
        async with third.running():
            await third.until(b"data: 1\n")
            assert (await refused(Client(app, headers=[("user", "fourth")])))[0] == 503
            third.leave()
        first.leave()
        second.leave()


async def test_a_place_is_given_back_whatever_becomes_of_the_answer():
    async def fails() -> AsyncIterator[int]:
        raise RuntimeError("no")
        yield 1

    app = bounded(streams=1)
    app.get("/fails")(dual_mode(fails))
    for accept in (STREAM, LINES, BATCH):
        with pytest.raises(RuntimeError, match="no"):
            await get(app, "/fails", accept=accept)
    assert (await get(app, "/", accept="image/png")).status == 406
    client = Client(app)
    async with client.running():
        await client.until(b"data: 1\n")
        client.leave()


@pytest.mark.parametrize("bad", [{"streams": 0}, {"client_streams": -1}, {"streams": True}])
def test_a_limit_that_lets_nobody_in_is_a_mistake(bad):
    with pytest.raises(ValueError, match="must be at least 1, or None"):
        Admission(**bad)
