"""What many readers of a worker share: the connection that subscribes, and each rendered frame."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
from fastapi import FastAPI

from dual_mode_streaming import Channel, dual_mode, install
from dual_mode_streaming.testing import StreamingTransport, collect_events
from tests.conftest import ROOT

numbers = Channel("scale/{name}", int)


async def test_all_readers_of_a_worker_share_one_subscription_connection(redis_server):
    redis_server.ask("FLUSHALL")
    app = FastAPI()
    install(app, store=redis_server.url, signals=False)

    @app.get("/{name}")
    @dual_mode
    def watch(name: int) -> AsyncIterator[int]:
        return numbers.subscribe(name=name)

    headers = {"accept": "text/event-stream"}
    transport = StreamingTransport(app)
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        http = httpx.AsyncClient(transport=transport, base_url="http://test")
        await stack.enter_async_context(http)
        for name in range(10):
            await numbers.publish(0, name=name)
        before = redis_server.ask("CLIENT LIST TYPE pubsub").split("\n")
        readers = [
            await stack.enter_async_context(http.stream("GET", f"/{n % 10}", headers=headers))
            for n in range(40)
        ]
        clients = redis_server.ask("CLIENT LIST TYPE pubsub").split("\n")
        assert len([each for each in clients if each.strip() and each not in before]) == 1
        for name in range(10):
            await numbers.publish(1, name=name)
        for events in await asyncio.gather(*(collect_events(each, 2) for each in readers)):
            assert [event.data for event in events] == ["0", "1"]


@pytest.mark.full
@pytest.mark.timeout(300)
def test_the_benchmark_runs():
    command = [sys.executable, "benchmarks/channels.py", "--readers", "40", "--channels", "40"]
    done = subprocess.run(
        [*command, "--seconds", "1"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert re.findall(r"(\d+) of (\d+) delivered", done.stdout)
    assert all(got == due for got, due in re.findall(r"(\d+) of (\d+) delivered", done.stdout))
    assert set(re.findall(r"(\d+) subscription connections", done.stdout)) == {"1"}
    for rendered, published in re.findall(r"(\d+) renderings of (\d+) messages", done.stdout):
        assert int(rendered) == int(published)
