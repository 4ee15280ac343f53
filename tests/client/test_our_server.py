"""The clients read the answers of this package."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from dual_mode_streaming import dual_mode
from dual_mode_streaming.client import (
    RequestRefused,
    StreamFailed,
    StreamReset,
)
from dual_mode_streaming.testing import serving

pytestmark = pytest.mark.asyncio(loop_scope="package")


class Item(BaseModel):
    n: int


class Batch(BaseModel):
    data: list[Item]


def app() -> FastAPI:
    app = FastAPI()
    app.state.closed = asyncio.Event()

    @app.get("/items")
    @app.post("/items")
    @dual_mode(heartbeat=0.02)
    async def numbered(
        count: int, fail: str = "", hang: bool = False, pause: float = 0
    ) -> AsyncIterator[Item]:
        if fail == "early":
            raise HTTPException(409, "not now")
        try:
            for n in range(count):
                yield Item(n=n)
            await asyncio.sleep(pause)
            if hang:
                await asyncio.Event().wait()
            if fail:
                raise HTTPException(502, "gone")
        finally:
            app.state.closed.set()

    @app.get("/silent")
    @dual_mode(heartbeat=None)
    async def silent() -> AsyncIterator[Item]:
        yield Item(n=0)
        await asyncio.Event().wait()

    return app


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def ours() -> AsyncIterator[tuple[str, FastAPI]]:
    served = app()
    async with serving(served, log_level="critical") as url:
        yield url, served


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_law(ours, harness, method):
    """What the stream gives is what the batch says."""
    url = f"{ours[0]}/items?count=20"
    stream = await harness.read(url, model=Item, method=method)
    assert stream.outcome == "done"
    batch = await harness.ask(method.lower(), url, model=Batch)
    assert batch.data == harness.data == [Item(n=n) for n in range(20)]


async def test_a_finished_stream_has_nothing_more(ours, harness):
    url = f"{ours[0]}/items?count=2"
    done = await harness.read(url)
    again = await harness.read(url, last_event_id=done.last_event_id)
    assert (again.outcome, harness.data) == ("no-content", [])


async def test_failures(ours, harness):
    with pytest.raises(RequestRefused, match="409: not now"):
        await harness.read(f"{ours[0]}/items?count=2&fail=early")
    with pytest.raises(RequestRefused, match="409: not now"):
        await harness.ask("get", f"{ours[0]}/items?count=2&fail=early")
    with pytest.raises(StreamFailed, match="gone") as caught:
        await harness.read(f"{ours[0]}/items?count=2&fail=late")
    assert (caught.value.status, caught.value.count) == (502, 2)


async def test_heartbeats_keep_it_alive(ours, harness):
    stream = await harness.read(f"{ours[0]}/items?count=1&pause=2", read_timeout=1.5)
    assert (stream.outcome, stream.reconnects) == ("done", 0)


async def test_what_is_not_recorded_cannot_be_resumed(ours, harness):
    with pytest.raises(StreamReset) as caught:
        await harness.read(f"{ours[0]}/silent", read_timeout=0.5)
    assert caught.value.reset["requested"] == caught.value.last_event_id
    assert caught.value.count == 1


async def test_leaving_ends_the_generator(ours, harness):
    url, served = ours
    served.state.closed.clear()
    await harness.each(f"{url}/items?count=1&hang=true", lambda event: True)
    await asyncio.wait_for(served.state.closed.wait(), 60)
