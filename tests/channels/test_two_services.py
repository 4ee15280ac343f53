"""Two services on one Redis, and one of them is killed: nothing is lost, doubled or reordered."""

import asyncio
import signal
from contextlib import ExitStack

import httpx
import pytest

from dual_mode_streaming import Channel
from dual_mode_streaming.client import AsyncDualModeClient, Reconnect
from tests.helpers.service import DUAL_MODE, run_service
from tests.stores.redis_server import free_port

MESSAGES = 2000
READERS = 400


def service(port, redis):
    program = [DUAL_MODE, "serve", "--port", str(port), "--store", redis]
    return run_service("--log-level", "error", program=program)


class Readers:
    """The readers of one service: what they have seen."""

    def __init__(self, url, http):
        self.url = f"{url}/channels/flood"
        self.client = AsyncDualModeClient(
            http_client=http, reconnect=Reconnect(attempts=60, delay=0.1, max_wait=0.5)
        )
        self.seen = [[] for _ in range(READERS // 2)]

    async def read(self, seen):
        async for event in self.client.stream(self.url, model=int):
            seen.append(event.data)
            if len(seen) >= MESSAGES and event.data == MESSAGES - 1:
                return


@pytest.mark.full
@pytest.mark.timeout(400)
async def test_400_readers_have_2000_messages_once_and_in_order(redis_server):
    redis_server.ask("FLUSHALL")
    ports = [free_port(), free_port()]
    flood = Channel("flood", int, store=redis_server.url)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=60) as http:
        with ExitStack() as stack:
            killed = stack.enter_context(service(ports[0], redis_server.url))
            stack.enter_context(service(ports[1], redis_server.url))
            await flood.publish(0)
            groups = [Readers(f"http://127.0.0.1:{port}", http) for port in ports]
            reading = [
                asyncio.create_task(group.read(seen)) for group in groups for seen in group.seen
            ]
            async with asyncio.timeout(300):
                while not all(seen for group in groups for seen in group.seen):
                    await asyncio.sleep(0.05)
                for number in range(1, MESSAGES):
                    await flood.publish(number)
                    if number == MESSAGES // 3:
                        await asyncio.to_thread(killed.stop, signal.SIGKILL)
                    if number == MESSAGES // 2:
                        again = service(ports[0], redis_server.url)
                        await asyncio.to_thread(stack.enter_context, again)
                await asyncio.gather(*reading)
    await Channel.aclose()
    expected = [*range(MESSAGES)]
    wrong = [seen for group in groups for seen in group.seen if seen != expected]
    assert len(wrong) == 0
