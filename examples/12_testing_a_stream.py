"""How do you test a stream, even one that never ends?

Seen: the usual test clients wait for the whole body, so they hang on an endless stream. This
transport really streams. The tests read three ticks and saw that the generator was closed. They
waited two hours in no time, and could tell a complete answer from one that was cut.

Try next: move `closed.append` after the loop, without `finally`: the first test fails. Run the
tests with pytest, with `client` as a fixture. `docs/testing.md` also has clients that stall.
"""

import asyncio
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI

from dual_mode_streaming import dual_mode
from dual_mode_streaming import testing as t

app = FastAPI()
closed: list[str] = []


@app.get("/ticks")
@dual_mode
async def ticks(count: int = 10**9, every: float = 1) -> AsyncIterator[int]:
    try:
        for number in range(count):
            await asyncio.sleep(every)
            yield number
    finally:
        closed.append("ticks")


async def test_a_disconnect_closes_the_generator(client: httpx.AsyncClient) -> None:
    async with client.stream("GET", "/ticks?stream=true") as response:
        events = await t.collect_events(response, limit=3)
    assert [event.data for event in events] == ["0", "1", "2"]
    assert closed == ["ticks"]
    try:
        t.assert_done(events)
    except AssertionError as error:
        print(f"error, as expected: {error}")


async def test_two_hours(client: httpx.AsyncClient) -> None:
    async with client.stream("GET", "/ticks?count=2&every=3600&stream=true") as response:
        assert t.assert_done(await t.collect_events(response)) == [0, 1]


async def run(test: object) -> None:
    transport = t.StreamingTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://t", timeout=None) as client:
        await test(client)  # type: ignore[operator]


if __name__ == "__main__":
    for test in (test_a_disconnect_closes_the_generator, test_two_hours):
        t.run_with_virtual_clock(run(test))
        print(f"passed: {test.__name__}")
