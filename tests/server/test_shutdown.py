"""The end of the process, and of single connections: prompt, whole, and nobody else's business."""

import asyncio
import json
import select
import signal
import socket
import threading
from contextlib import ExitStack, closing

import httpx
import pytest

from dual_mode_streaming import EventDecoder
from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.run import Server, StreamingProtocol
from dual_mode_streaming.server.settings import Settings

from .service import serving

SLOW = "/data?count=1000000000&interval=0.05"


def opened(stack: ExitStack, url: str, accept: str = "text/event-stream"):
    """A streamed answer of which something has arrived; gives the iterator over the rest."""
    headers = {"Accept": accept}
    answer = stack.enter_context(httpx.stream("GET", url, headers=headers, timeout=20))
    chunks = answer.iter_raw()
    assert next(chunks)
    return chunks


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_open_streams_and_the_process_in_order(number):
    with serving() as service, ExitStack() as stack:
        data = opened(stack, service.url + SLOW)
        feed = opened(stack, f"{service.url}/events")
        quiet = opened(stack, f"{service.url}/data?count=2&interval=3600")
        code, seconds = service.stop(number)
        assert code == 0, "\n".join(service.lines)
        assert seconds < 5
        for chunks in (data, quiet):
            last = EventDecoder().feed(b"".join(chunks))[-1]
            assert last.event == "error"
            assert last.id is None, "an end id would keep an EventSource from coming again"
            assert json.loads(last.data)["status"] == 503
        b"".join(feed)  # a clean end


def test_a_batch_that_is_not_done_is_a_503_at_a_shutdown():
    with serving() as service, ExitStack() as stack:
        answers = []

        def ask() -> None:
            answers.append(httpx.get(f"{service.url}/data?count=2&interval=3600", timeout=20))

        asking = threading.Thread(target=ask)
        stack.callback(asking.join, 20)
        asking.start()
        opened(stack, service.url + SLOW)  # accepted later than the batch, or as good as
        code, seconds = service.stop()
        asking.join(20)
        assert code == 0
        assert seconds < 5
        assert answers[0].status_code == 503


def test_a_reader_that_takes_nothing_is_cut_off_at_the_signal_too():
    with serving() as service, ExitStack() as stack:
        stalled = stack.enter_context(stalled_reader(service))
        assert stalled.recv(1)
        code, seconds = service.stop()
        assert code == 0
        assert seconds < 5, "\n".join(service.lines)


def stalled_reader(service) -> socket.socket:
    """A connection with an endless stream under way, of which nothing is read."""
    reader = socket.create_connection(("127.0.0.1", service.port))
    reader.sendall(
        b"GET /data?count=1000000000&interval=0 HTTP/1.1\r\nHost: x\r\n"
        b"Accept: text/event-stream\r\n\r\n"
    )
    return reader


def test_a_reader_that_stalls_past_the_send_timeout_is_aborted():
    with serving("--send-timeout", "0.5") as service, closing(stalled_reader(service)) as reader:
        broken = select.poll()
        broken.register(reader, select.POLLERR | select.POLLHUP)  # no POLLIN: it reads nothing
        assert broken.poll(15_000), "the connection is still there"
        assert httpx.get(f"{service.url}/healthz").status_code == 200


def test_workers_share_the_port_and_end_in_order():
    with serving("--workers", "2") as service, ExitStack() as stack:
        service.until("Application startup complete", count=2)
        streams = [opened(stack, service.url + SLOW) for _ in range(6)]
        code, seconds = service.stop()
        assert code == 0, "\n".join(service.lines)
        assert seconds < 5
        for chunks in streams:
            assert EventDecoder().feed(b"".join(chunks))[-1].event == "error"


def test_workers_take_the_flags():
    with serving("--workers", "2", "--stream-limit", "0.3") as service:
        headers = {"Accept": "text/event-stream"}
        answer = httpx.get(service.url + SLOW, headers=headers, timeout=20)
        assert EventDecoder().feed(answer.content)[-1].event == "error"


class InThread:
    """A server in a thread of this process."""

    def __init__(self) -> None:
        import uvicorn

        self.listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            create_app(Settings()), http=StreamingProtocol, log_level="warning", lifespan="off"
        )
        self.server = Server(config)
        serve = self.server.serve
        self.thread = threading.Thread(target=lambda: asyncio.run(serve([self.listener])))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        self.listener.close()
        assert not self.thread.is_alive()


def test_of_two_servers_in_one_process_one_ends_and_the_other_goes_on():
    one, two = InThread(), InThread()
    try:
        with ExitStack() as stack:
            ending, staying = (opened(stack, server.url + SLOW) for server in (one, two))
            one.stop()
            assert EventDecoder().feed(b"".join(ending))[-1].event == "error"
            for _ in range(5):
                assert next(staying)
            opened(stack, two.url + SLOW)  # and it takes new ones
    finally:
        one.stop()
        two.stop()
