"""deploy/nginx.conf, by a real nginx: frames come one by one, requests are passed on rightly."""

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import AsyncIterator

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from dual_mode_streaming import EventDecoder, dual_mode, install
from dual_mode_streaming.server.settings import Settings
from dual_mode_streaming.testing import serving

from .nginx import CONFIG, Nginx

ENCODED = {"accept-encoding": "gzip"}


@pytest.fixture(scope="module")
def proxied(tmp_path_factory, service):
    """The address of an nginx before one service, which is both of its workers."""
    port = httpx.URL(service).port
    nginx = Nginx(tmp_path_factory.mktemp("nginx"), port, port)
    with contextlib.closing(nginx.start()):
        yield nginx


@pytest.mark.parametrize(
    ("accept", "end"),
    [("text/event-stream", b"\n\n"), ("application/jsonl", b"\n"), ("application/x-ndjson", b"\n")],
)
def test_an_item_arrives_before_the_next_is_made(proxied, accept, end):
    """The next one is an hour away."""
    url = f"{proxied.url}/data?count=2&interval=3600"
    headers = {**ENCODED, "accept": accept}
    with httpx.stream("GET", url, headers=headers, timeout=60) as answer:
        assert answer.headers.get("content-encoding", "identity") == "identity"
        received = b""
        for chunk in answer.iter_raw():
            received += chunk
            if received.endswith(end):
                break
    assert b'"Item 1 of 2"' in received


@pytest.mark.parametrize("accept", ["text/event-stream", "application/jsonl"])
async def test_each_item_is_made_when_the_one_before_has_arrived(nginx_before, accept):
    app = FastAPI()
    install(app)
    arrived = asyncio.Event()

    @app.get("/items")
    @dual_mode
    async def items() -> AsyncIterator[int]:
        for number in range(5):
            yield number
            await arrived.wait()
            arrived.clear()

    numbers = []
    async with serving(app) as url, httpx.AsyncClient(timeout=60) as http:
        port = httpx.URL(url).port
        nginx = await asyncio.to_thread(nginx_before, port, port)
        headers = {**ENCODED, "accept": accept}
        async with http.stream("GET", f"{nginx.url}/items", headers=headers) as answer:
            async for line in answer.aiter_lines():
                if number := re.fullmatch(r"(?:data: )?(\d+)", line):
                    numbers.append(int(number[1]))
                    arrived.set()
    assert numbers == [*range(5)]


async def test_a_reader_that_takes_nothing_pauses_the_generator(nginx_before):
    """nginx does not take it all in the reader's stead, into a file."""
    app = FastAPI()
    install(app, send_timeout=0.5)
    ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    @app.get("/items")
    @dual_mode
    async def items() -> AsyncIterator[str]:
        whole = False
        try:
            for _ in range(200):
                yield "x" * 250_000
            whole = True
        finally:
            ended.set_result(whole)

    async with serving(app) as url:
        port = httpx.URL(url).port
        nginx = await asyncio.to_thread(nginx_before, port, port)
        with socket.create_connection(("127.0.0.1", nginx.port)) as reader:
            reader.sendall(b"GET /items?stream=true HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await asyncio.wait_for(ended, 60) is False


def test_a_large_batch_is_compressed(proxied):
    answer = httpx.get(f"{proxied.url}/data?count=500&interval=0", headers=ENCODED)
    assert answer.headers["content-encoding"] == "gzip"
    assert len(answer.json()["data"]) == 500


def test_last_event_id_reaches_the_worker(proxied):
    headers = {"accept": "text/event-stream"}
    ended = httpx.get(f"{proxied.url}/data?count=1&interval=0", headers=headers)
    last = EventDecoder().feed(ended.content)[-1]
    again = {**headers, "last-event-id": last.id}
    assert httpx.get(f"{proxied.url}/data?count=1&interval=0", headers=again).status_code == 204


def test_a_query_is_in_no_log_and_the_metrics_are_not_for_the_world(proxied):
    assert httpx.get(f"{proxied.url}/healthz?token=hush").status_code == 200
    assert httpx.get(f"{proxied.url}/metrics").status_code == 404
    log = proxied.log.read_text()
    assert '"GET /healthz" 200' in log
    assert "hush" not in log


@pytest.mark.parametrize(("method", "tries"), [("GET", 2), ("POST", 1)])
def test_only_what_may_be_repeated_goes_to_another_worker(nginx_before, method, tries):
    """Both of these take a request and crash."""
    taken = []

    def crash(listener):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    taken.append(connection.recv(65536).split(b" ", 1)[0].decode())

    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in "12"]
        threads = [threading.Thread(target=crash, args=(listener,)) for listener in listeners]
        for thread in threads:
            thread.start()
        nginx = nginx_before(*(listener.getsockname()[1] for listener in listeners))
        assert httpx.request(method, f"{nginx.url}/chat").status_code == 502
        for listener in listeners:
            listener.shutdown(socket.SHUT_RDWR)  # wakes whoever waits in accept
        for thread in threads:
            thread.join()
    assert taken == [method] * tries


def test_its_times_and_sizes_fit_the_settings_of_the_service():
    directives = dict(re.findall(r"^ *(\w+) (\d+)[sm];", CONFIG.read_text("utf-8"), re.M))
    settings = Settings.model_construct()
    silence = float(directives["proxy_read_timeout"])
    assert silence > max(settings.heartbeat, settings.batch_seconds)
    assert int(directives["client_max_body_size"]) * 1024 * 1024 == settings.llm.body_limit
    assert int(directives["keepalive_timeout"]) < uvicorn.Config("app").timeout_keep_alive
