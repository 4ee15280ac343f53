"""What a plain EventSource sees: an end that ends, a cut that says so, heartbeats when idle."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Header, HTTPException

from dual_mode_streaming import dual_mode

from .asgi import Client, get, on_virtual_clock


def app_of(function, **options) -> FastAPI:
    app = FastAPI()
    app.get("/")(dual_mode(**options)(function))
    return app


ran = []


async def two() -> AsyncIterator[int]:
    ran.append(1)
    yield 1
    yield 2


async def failing() -> AsyncIterator[int]:
    ran.append(1)
    yield 1
    raise ValueError


def again(last_event_id: str) -> dict[str, object]:
    return {"headers": [("last-event-id", last_event_id)]}


@pytest.mark.parametrize("source", [two, failing])
async def test_the_reconnect_after_the_end_is_a_204(source):
    app = app_of(source)
    answer = await get(app)
    ran.clear()
    end = answer.events[-1].id
    assert end.endswith(".end")
    answer = await get(app, **again(end))
    assert answer.status == 204
    assert answer.body == b""
    assert answer.headers["vary"] == "Accept"
    assert not ran, "the generator was started"


async def test_the_204_comes_after_auth():
    async def nobody() -> None:
        raise HTTPException(401)

    async def source(user: None = Depends(nobody)) -> AsyncIterator[int]:
        yield 1

    assert (await get(app_of(source), **again("0123456789.end"))).status == 401


async def test_a_cut_stream_starts_afresh_and_says_so():
    app = app_of(two)
    cursor = (await get(app)).events[0].id
    answer = await get(app, **again(cursor))
    assert [event.event for event in answer.events] == ["reset", None, None, "done"]
    assert json.loads(answer.events[0].data) == {"reason": "not_recorded", "requested": cursor}


@pytest.mark.parametrize("cursor", ["x", "..", "a.end.end", "ABCDEF0123.end", "\x7f", "0" * 7000])
async def test_a_foreign_cursor_is_a_reset(cursor):
    answer = await get(app_of(two), **again(cursor))
    assert answer.events[0].event == "reset"
    assert answer.events[-1].event == "done"
    assert len(answer.events[0].data) < 1000


async def test_another_mode_knows_no_cursor():
    answer = await get(app_of(two), accept="application/json", **again("0123456789.end"))
    assert answer.status == 200


async def test_an_endpoint_that_takes_the_cursor_itself_is_not_reset():
    async def source(
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> AsyncIterator[str]:
        yield f"from {last_event_id}"

    answer = await get(app_of(source), **again("7"))
    assert json.loads(answer.events[0].data) == "from 7"
    assert (await get(app_of(source), **again("0123456789.end"))).status == 204


async def test_retry_is_told_per_endpoint():
    answer = await get(app_of(two, retry=1234))
    assert answer.body.startswith(b"retry: 1234\nid: ")


# --- heartbeats, on a virtual clock --------------------------------------------------------------


async def idle_for_a_minute() -> AsyncIterator[int]:
    yield 1
    await asyncio.sleep(61)
    yield 2


@on_virtual_clock
async def test_heartbeats_go_out_while_the_source_is_idle_and_only_then():
    answer = await get(app_of(idle_for_a_minute), timeout=100)
    first, *middle, _ = answer.body.split(b": ping\n")
    assert middle == [b""] * 3, "every 15 s, four times in a minute"
    assert b": ping\n\n" not in answer.body, "a strict client takes that for an event"
    assert first.endswith(b"data: 1\n\n")
    assert [event.data for event in answer.events] == ["1", "2", '{"items":2}']


@on_virtual_clock
async def test_traffic_resets_the_heartbeat():
    async def source() -> AsyncIterator[int]:
        for n in range(100):
            await asyncio.sleep(14)
            yield n

    assert b"ping" not in (await get(app_of(source, grace=20), timeout=2000)).body


@on_virtual_clock
async def test_the_heartbeat_is_set_per_endpoint_or_off():
    assert (await get(app_of(idle_for_a_minute, heartbeat=1), timeout=100)).body.count(
        b": ping\n"
    ) == 60
    assert b"ping" not in (await get(app_of(idle_for_a_minute, heartbeat=None), timeout=100)).body


@on_virtual_clock
async def test_there_is_no_heartbeat_in_lines():
    lines = await get(app_of(idle_for_a_minute), accept="application/jsonl", timeout=100)
    assert lines.body == b"1\n2\n"
    assert all(message.get("body", b"x") for message in lines.messages[:-1])


@on_virtual_clock
async def test_a_slow_first_item_commits_after_the_grace_and_keeps_the_line_warm():
    loop, moments = asyncio.get_running_loop(), []

    async def slow() -> AsyncIterator[int]:
        await asyncio.sleep(40)
        yield 1

    client = Client(app_of(slow))
    client.timeout = 100
    send = client.send

    async def noting(message):
        moments.append(round(loop.time(), 3))
        await send(message)

    client.send = noting
    await client.run()
    # the head and a first heartbeat at 1 s, heartbeats each 15 s from there, item and end
    assert moments == [1, 1, 16, 31, 40]


@on_virtual_clock
async def test_strict_clients_take_no_heartbeat_for_an_event():
    from httpx_sse._decoders import SSEDecoder

    body = (await get(app_of(idle_for_a_minute), timeout=100)).body
    assert b": ping\n" in body
    decoder = SSEDecoder()
    events = [decoder.decode(line) for line in body.decode().splitlines()]
    assert [event.data for event in events if event] == ["1", "2", '{"items":2}']


async def test_a_slow_source_is_flushed_item_by_item_and_a_fast_one_in_few_sends():
    async def slow() -> AsyncIterator[int]:
        for n in range(5):
            yield n
            await asyncio.sleep(0)

    async def fast() -> AsyncIterator[int]:
        for n in range(1000):
            yield n

    assert len((await get(app_of(slow))).messages) == 1 + 5 + 1
    assert len((await get(app_of(fast))).messages) < 500  # usual are 5


async def test_a_computing_source_delivers_each_item_when_it_is_ready():
    import time

    sent = []

    async def source() -> AsyncIterator[int]:
        for n in range(5):
            start = time.perf_counter()
            while time.perf_counter() - start < 0.003:
                pass
            yield n
            sent.append(client.body.count(b"data:"))

    client = Client(app_of(source))
    await client.run()
    assert sent == [1, 2, 3, 4, 5]


async def test_a_busy_stream_leaves_the_loop_to_others():
    async def source() -> AsyncIterator[int]:
        for n in range(100_000):
            yield n

    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    neighbour = asyncio.create_task(other())
    await get(app_of(source))
    neighbour.cancel()
    assert turns > 20
