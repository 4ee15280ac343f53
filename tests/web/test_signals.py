"""SIGTERM under every server: each kind of answer ends in its own way, and the process soon."""

import asyncio
import json
import signal
import time

import httpx
import pytest

from dual_mode_streaming import EventDecoder

from .servers import COMMANDS, started

APP = """
import asyncio
from collections.abc import AsyncIterator
from fastapi import FastAPI
from dual_mode_streaming import dual_mode, install

app = FastAPI()
install(app)

async def waits() -> AsyncIterator[int]:
    yield 1
    await asyncio.Event().wait()

app.get("/finite")(dual_mode(waits))
app.get("/feed")(dual_mode(feed=True)(waits))
app.get("/recorded")(dual_mode(record=True)(waits))
"""

EVENTS = {"Accept": "text/event-stream"}


class Reader:
    """Reads one stream to its end."""

    def __init__(self, client: httpx.AsyncClient, path: str, accept: str) -> None:
        self.body = b""
        self.broken = False
        self.begun = asyncio.Event()
        self.task = asyncio.create_task(self._read(client, path, accept))

    async def _read(self, client: httpx.AsyncClient, path: str, accept: str) -> None:
        try:
            async with client.stream("GET", path, headers={"Accept": accept}) as answer:
                async for chunk in answer.aiter_raw():
                    self.body += chunk
                    self.begun.set()
        except httpx.RemoteProtocolError:
            self.broken = True

    @property
    def events(self):
        return EventDecoder().feed(self.body)


@pytest.mark.parametrize("name", COMMANDS)
async def test_a_signal_ends_what_is_open(name, tmp_path):
    with started(name, APP, tmp_path) as (process, url):
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            finite = Reader(client, "/finite", "text/event-stream")
            lines = Reader(client, "/finite", "application/jsonl")
            feed = Reader(client, "/feed", "text/event-stream")
            recorded = Reader(client, "/recorded", "text/event-stream")
            readers = (finite, lines, feed, recorded)
            for reader in readers:
                await asyncio.wait_for(reader.begun.wait(), 60)
            process.send_signal(signal.SIGTERM)
            code = await asyncio.to_thread(process.wait, 60)
            await asyncio.gather(*(reader.task for reader in readers))
    assert code == (-signal.SIGTERM if name.startswith("uvicorn") else 0)  # uvicorn's own manner
    assert [event.event for event in finite.events] == [None, "error"]
    assert json.loads(finite.events[-1].data)["status"] == 503
    assert lines.broken
    assert lines.body == b"1\n"
    for reader in (feed, recorded):
        assert not reader.broken
        assert [event.event for event in reader.events] == [None]
        assert b"\nretry: " in reader.body
    assert not any(b".end" in reader.body for reader in readers), "they come again"


async def test_readiness_turns_before_the_streams_end(start_service):
    """A load balancer has to see it first: until then it would send readers back here."""
    running = start_service(DUAL_MODE_DRAIN_DELAY="3")
    async with httpx.AsyncClient(base_url=running.url, timeout=60) as client:
        reader = Reader(client, "/data?count=9&interval=3600", "text/event-stream")
        await asyncio.wait_for(reader.begun.wait(), 60)
        assert (await client.get("/readyz")).status_code == 200
        running.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            while (await client.get("/readyz")).status_code != 503:
                pass
        assert not reader.task.done()
        served = await client.get("/data?count=1", headers=EVENTS)
        assert served.status_code == 200
        assert served.headers["connection"] == "close"
        await reader.task
        assert reader.events[-1].event == "error"
    assert await asyncio.to_thread(running.process.wait, 60) == 0


async def test_a_second_signal_ends_at_once(start_service):
    running = start_service(DUAL_MODE_DRAIN_DELAY="60")
    async with httpx.AsyncClient(base_url=running.url, timeout=60) as client:
        reader = Reader(client, "/data?count=9&interval=3600", "text/event-stream")
        await asyncio.wait_for(reader.begun.wait(), 60)
        running.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            while (await client.get("/readyz")).status_code != 503:
                pass
        running.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(running.process.wait, 60) == -signal.SIGTERM
        await reader.task
        assert reader.broken


@pytest.mark.full
@pytest.mark.parametrize("name", ["uvicorn", "hypercorn", "granian"])
async def test_hundreds_of_streams_end_one_after_the_other(name, tmp_path):
    with started(name, APP, tmp_path) as (process, url):
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
            ends: list[float] = []
            readers = [Reader(client, "/finite", "text/event-stream") for _ in range(300)]
            for reader in readers:
                reader.task.add_done_callback(lambda _: ends.append(time.monotonic()))
                await asyncio.wait_for(reader.begun.wait(), 60)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.wait, 60)
            took = time.monotonic() - began
            await asyncio.gather(*(reader.task for reader in readers))
    assert took < 5
    assert all(reader.events[-1].event == "error" for reader in readers)
    assert not any(reader.broken for reader in readers)
    print(f"\n{name}: 300 streams ended within {max(ends) - began:.2f} s, exit after {took:.2f} s")
    assert max(ends) - min(ends) > 0.3, "not all at once"
