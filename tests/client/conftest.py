"""A harness for each client, so that every test runs with both; and the scripted server."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio

from dual_mode_streaming.client import AsyncDualModeClient, DualModeClient, Event, Reconnect
from dual_mode_streaming.client._options import own_client
from dual_mode_streaming.testing import serving
from tests.helpers.scripted import Server, Switch

AT_ONCE = Reconnect(attempts=3, delay=0, max_wait=0.01, jitter=0)
CERTIFICATES = ssl.create_default_context()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def running() -> AsyncIterator[Switch]:
    """One server process for all tests: stopping one takes longer than most of them."""
    switch = Switch()
    async with serving(switch, log_level="critical") as switch.url:
        yield switch


@pytest_asyncio.fixture(loop_scope="package")
async def server(running: Switch) -> Server:
    """A server that knows nothing yet of the test."""
    running.server = Server(running.url)
    return running.server


class Harness:
    """One of the clients; `events` are those of the last stream, `stream` is that stream."""

    kinds: tuple[Any, Any]

    def __init__(self) -> None:
        self.events: list[Event[Any]] = []
        self.stream: Any = None

    @property
    def data(self) -> list[Any]:
        return [event.data for event in self.events]

    @property
    def client(self) -> Any:
        return self.kinds[0]

    def http(self) -> Any:
        """What the client would make itself, but for the certificates, which take long to load."""
        return self.kinds[1](**own_client("", None), verify=CERTIFICATES)

    def opened(self, client: Any, url: str, options: dict[str, Any]) -> Any:
        self.events = []
        self.stream = client.stream(url, **({"reconnect": AT_ONCE, "model": Any} | options))
        return self.stream

    async def read(self, url: str, **options: Any) -> Any:
        """Read a stream to its end; gives it."""
        return await self.each(url, lambda event: None, **options)


class AsyncHarness(Harness):
    name = "async"
    kinds = (AsyncDualModeClient, httpx.AsyncClient)

    async def each(self, url: str, do: Callable[[Event[Any]], Any], **options: Any) -> Any:
        """Read a stream, and do something with each event; leave the loop if that is true."""
        async with self.http() as http, self.client(http_client=http) as client:
            async for event in self.opened(client, url, options):
                self.events.append(event)
                answer = do(event)
                if await answer if asyncio.iscoroutine(answer) else answer:
                    break
        return self.stream

    async def ask(self, method: str, url: str, **options: Any) -> Any:
        async with self.http() as http, self.client(http_client=http) as client:
            return await getattr(client, method)(url, **({"reconnect": AT_ONCE} | options))

    @contextlib.asynccontextmanager
    async def reading(self, url: str, **options: Any) -> AsyncIterator[asyncio.Task[Any]]:
        task = asyncio.create_task(self.read(url, **options))
        yield task
        await task

    async def close(self) -> None:
        await self.stream.aclose()

    async def cancel(self) -> Any:
        return await self.stream.cancel()


class SyncHarness(Harness):
    name = "sync"
    kinds = (DualModeClient, httpx.Client)

    async def each(self, url: str, do: Callable[[Event[Any]], Any], **options: Any) -> Any:
        def run() -> None:
            with self.http() as http, self.client(http_client=http) as client:
                for event in self.opened(client, url, options):
                    self.events.append(event)
                    answer = do(event)
                    if asyncio.iscoroutine(answer):
                        answer = asyncio.run_coroutine_threadsafe(answer, loop).result(60)
                    if answer:
                        break

        loop = asyncio.get_running_loop()
        await asyncio.to_thread(run)
        return self.stream

    async def ask(self, method: str, url: str, **options: Any) -> Any:
        def run() -> Any:
            with self.http() as http, self.client(http_client=http) as client:
                return getattr(client, method)(url, **({"reconnect": AT_ONCE} | options))

        return await asyncio.to_thread(run)

    reading = AsyncHarness.reading

    async def close(self) -> None:
        await asyncio.to_thread(self.stream.close)

    async def cancel(self) -> Any:
        return await asyncio.to_thread(self.stream.cancel)


@pytest.fixture(params=[AsyncHarness, SyncHarness], ids=["async", "sync"])
def harness(request: pytest.FixtureRequest) -> Harness:
    return request.param()
