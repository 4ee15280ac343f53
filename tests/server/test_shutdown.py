"""The end of the process and of single connections: prompt, whole, and nobody else's business."""

import asyncio
import json
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import httpx
import psutil
import pytest
import uvicorn

from dual_mode_streaming import EventDecoder
from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.run import SignalledServer, StreamingProtocol
from dual_mode_streaming.server.settings import Settings

STREAM = {"Accept": "text/event-stream"}
SLOW = "/data?count=1000000000&interval=0.05"


def opened(stack: ExitStack, url: str) -> Iterator[bytes]:
    """A stream of which something has arrived; gives the iterator over the rest."""
    answer = stack.enter_context(httpx.stream("GET", url, headers=STREAM, timeout=60))
    chunks = answer.iter_raw()
    assert next(chunks)
    return chunks


def stalled_reader(url: str) -> socket.socket:
    """A connection with an endless stream under way, of which nothing is read."""
    address = httpx.URL(url)
    reader = socket.create_connection((address.host, address.port))
    reader.sendall(
        b"GET /data?count=1000000000&interval=0 HTTP/1.1\r\nHost: x\r\n"
        b"Accept: text/event-stream\r\n\r\n"
    )
    return reader


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stream_that_a_signal_cuts_has_no_end_id(start_service, number):
    """An end id would keep an EventSource from coming again, to the next process."""
    running = start_service("--log-level", "warning")
    with ExitStack() as stack:
        moving = opened(stack, running.url + SLOW)
        idle = opened(stack, f"{running.url}/data?count=2&interval=3600")
        assert running.stop(number) == 0
        for chunks in (moving, idle):
            last = EventDecoder().feed(b"".join(chunks))[-1]
            assert last.event == "error"
            assert not (last.id or "").endswith(".end")
            assert json.loads(last.data)["status"] == 503


async def test_an_answer_that_has_not_begun_at_a_shutdown_is_refused():
    """The connection is told, and no flag outlives it: the app may be served again."""
    from fastapi import Depends, FastAPI

    from dual_mode_streaming import dual_mode, install
    from dual_mode_streaming.testing import serving as served

    entered, go_on, ran = asyncio.Event(), asyncio.Event(), []

    async def slow() -> None:
        entered.set()
        await go_on.wait()

    class Telling(StreamingProtocol):
        def shutdown(self) -> None:
            super().shutdown()
            go_on.set()

    app = FastAPI()
    install(app)

    @app.get("/", dependencies=[Depends(slow)])
    @dual_mode
    async def source():
        ran.append(1)
        yield 1

    async with httpx.AsyncClient() as client:
        async with served(app, http=Telling) as url:
            asking = asyncio.create_task(client.get(url))
            await entered.wait()
        assert (await asking).status_code == 503
        assert not ran
        async with served(app, http=Telling) as url:
            assert (await client.get(url)).json() == {"data": [1]}


def test_a_batch_that_is_not_done_is_a_503(start_service):
    running = start_service("--log-level", "warning")
    address = httpx.URL(running.url)
    with ExitStack() as stack:
        asking = socket.create_connection((address.host, address.port))
        stack.enter_context(closing(asking))
        asking.sendall(b"GET /data?count=2&interval=3600 HTTP/1.1\r\nHost: x\r\n\r\n")
        opened(stack, running.url + SLOW)  # by now the batch is under way, too
        assert running.stop() == 0
        assert asking.recv(65536).startswith(b"HTTP/1.1 503 ")


@pytest.mark.full
def test_a_reader_that_takes_nothing_does_not_hold_up_the_end(start_service):
    running = start_service("--log-level", "warning")
    with closing(stalled_reader(running.url)) as reader:
        assert reader.recv(1)
        began = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - began < 6


def test_a_reader_that_stalls_past_the_send_timeout_is_aborted(start_service):
    running = start_service("--log-level", "warning", "--send-timeout", "0.5")
    with closing(stalled_reader(running.url)) as reader:
        broken = select.poll()
        broken.register(reader, select.POLLERR | select.POLLHUP)  # no POLLIN: it reads nothing
        assert broken.poll(15_000), "the connection is still there"
    assert httpx.get(f"{running.url}/healthz").status_code == 200


class ServerInThread:
    """One of several servers in this process."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        config = uvicorn.Config(create_app(Settings()), http=StreamingProtocol, log_level="warning")
        self.server = SignalledServer(config)
        self.thread = threading.Thread(
            target=lambda: asyncio.run(self.server.serve([self.listener]))
        )
        self.thread.start()
        # Two that start at once would share Python's warning filters, which FastAPI changes then.
        assert httpx.get(f"{self.url}/healthz", timeout=60).status_code == 200

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(60)
        self.listener.close()
        assert not self.thread.is_alive()


def test_of_two_servers_in_one_process_one_ends_and_the_other_goes_on():
    one, two = ServerInThread(), ServerInThread()
    try:
        with ExitStack() as stack:
            ending, staying = (opened(stack, server.url + SLOW) for server in (one, two))
            one.stop()
            assert EventDecoder().feed(b"".join(ending))[-1].event == "error"
            for _ in range(3):
                assert next(staying)
            opened(stack, two.url + SLOW)  # and it takes new ones
    finally:
        one.stop()
        two.stop()


def test_a_killed_supervisor_leaves_no_worker_behind(start_service, tmp_path):
    running = start_service("--workers", "2", "--store", f"sqlite:{tmp_path}/streams.db")
    assert httpx.get(f"{running.url}/healthz", timeout=60).status_code == 200
    workers = psutil.Process(running.process.pid).children(recursive=True)
    assert len(workers) >= 2
    running.process.kill()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
