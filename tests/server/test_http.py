"""HTTP itself, on a socket: large heads, slow clients, pipelining, HEAD, OPTIONS."""

import asyncio
import contextlib
import gc
import json
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.run import StreamingProtocol
from dual_mode_streaming.server.settings import Settings
from dual_mode_streaming.testing import serving

BATCH = b"GET /data?count=2&interval=0 HTTP/1.1\r\nHost: x\r\n\r\n"
STREAM = b"GET /data?count=2&interval=0&stream=true HTTP/1.1\r\nHost: x\r\n\r\n"
ENDLESS = b"GET /data?count=1000&interval=3600&stream=true HTTP/1.1\r\nHost: x\r\n\r\n"


def connected(url: str) -> socket.socket:
    address = httpx.URL(url)
    connection = socket.create_connection((address.host, address.port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def all_of(connection: socket.socket) -> bytes:
    """What comes until the server closes, or breaks off."""
    received = bytearray()
    with contextlib.suppress(ConnectionError):
        while chunk := connection.recv(65536):
            received += chunk
    return bytes(received)


def until(connection: socket.socket, needle: bytes, times: int = 1) -> bytes:
    received = bytearray()
    while received.count(needle) < times:
        chunk = connection.recv(65536)
        assert chunk, f"the connection ended before {needle!r}: {bytes(received)!r}"
        received += chunk
    return bytes(received)


def asked(url: str, request: bytes) -> tuple[bytes, bytes]:
    """Head and body of the answer on a connection that the server closes."""
    with closing(connected(url)) as connection:
        connection.sendall(request)
        head, _, body = all_of(connection).partition(b"\r\n\r\n")
        return head.lower(), body


def open_streams(url: str) -> float:
    text = httpx.get(f"{url}/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("dual_mode_streams_open")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def wait_for_streams(url: str, count: int) -> None:
    deadline = time.monotonic() + 60
    while open_streams(url) != count:
        assert time.monotonic() < deadline, f"{open_streams(url)} streams are open"
        time.sleep(0.01)  # nobody tells


@pytest.fixture(scope="module")
def impatient() -> Iterator[str]:
    """A service with small limits and short times."""
    from tests.conftest import run_service

    limits = {
        "DUAL_MODE_HEADER_BYTES": "4000",
        "DUAL_MODE_HEADER_TIMEOUT": "1",
        "DUAL_MODE_BODY_TIMEOUT": "1",
        "DUAL_MODE_SEND_TIMEOUT": "0.8",
        "DUAL_MODE_LLM_FIRST": "0",
        "DUAL_MODE_LLM_RATE": "0",
    }
    with run_service("--log-level", "error", **limits) as service:
        yield service.url


# --- heads that the parser takes -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "headers", "status"),
    [
        ("1.1", "Host: a\r\nHost: b", 400),
        ("1.1", "Host: a\r\nX: y\r\nhost: a", 400),
        ("1.1", "X: y", 400),
        ("1.0", "X: y", 200),
        ("1.1", "Host:", 200),
        *(
            ("1.1", f"Host: {host}", 200)
            for host in ("a.b:8", "[::1]:8", "127.0.0.1", "a-b_c", "a:")
        ),
        *(
            ("1.1", f"Host: {host}", 400)
            for host in ("u@a", "a b", "a/b", "a:b", "\xe9", "a?b", "[a")
        ),
        ("1.1", "Host: x:1 \t", 200),  # white space around a value is not part of it
        ("1.1", "Host: x\r\nTransfer-Encoding: gzip, chunked", 501),
        ("1.1", "Host: x\r\nTransfer-Encoding: identity", 501),
        ("1.0", "Host: x\r\nTransfer-Encoding: chunked", 400),
        ("1.1", "Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 2", 400),
        ("1.1", "Host: x\r\nContent-Length : 2", 400),
        ("1.1", "Host: x\r\nX: a\r\n b", 400),
        ("2.0", "Host: x", 505),
        ("0.9", "Host: x", 505),
    ],
)
def test_a_head_that_others_may_read_in_another_way_is_refused(service, version, headers, status):
    line = f"GET /healthz HTTP/{version}\r\n{headers}\r\nConnection: close\r\n\r\n"
    head, _ = asked(service, line.encode("latin-1"))
    assert head.startswith(f"http/1.1 {status} ".encode()), head


@pytest.mark.parametrize("path", ["/data/", "/healthz/", "//evil.example/data/", "/docs/"])
def test_no_answer_leads_to_what_the_host_header_says(service, path):
    head, _ = asked(
        service, f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode()
    )
    assert b"http/1.1 404 " in head
    assert b"evil" not in head


# --- the size of a head --------------------------------------------------------------------------


@pytest.mark.parametrize("begin", [b"GET /", b"GET / HTTP/1.1\r\nx: ", b"GET / HTTP/1.1\r\n"])
def test_a_head_without_end_is_refused_and_not_kept(service, begin):
    """In the target, in one value, in many fields: httptools has no bound of its own."""
    more = b"a: b\r\n" * 5000 if begin.endswith(b"\n") else b"a" * 30_000
    with closing(connected(service)) as connection:
        connection.sendall(begin)
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 20_000_000:
                sent += connection.send(more)
        assert sent < 20_000_000, "the service takes it all"
        answer = all_of(connection)
    if answer:  # where much was on its way, the reset that follows may have overtaken it
        assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("sizes", [[5000], [1000] * 5, [4100, 0]])
def test_a_head_that_is_too_large_is_refused_with_a_reason(impatient, sizes):
    with closing(connected(impatient)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nx: ")
        for size in sizes:
            connection.sendall(b"a" * size if size else b"\r\n\r\n" + BATCH)
        head, _, body = all_of(connection).lower().partition(b"\r\n\r\n")
    assert head.startswith(b"http/1.1 431 ")
    assert b"connection: close" in head
    assert b"4000 bytes" in body


def test_a_head_below_the_limit_and_a_body_above_are_taken(impatient):
    body = json.dumps({"messages": [{"role": "user", "content": "x" * 9000}]})
    headers = {"x": "a" * 3000, "content-type": "application/json"}
    assert httpx.post(f"{impatient}/chat", content=body, headers=headers).is_success


# --- slow clients --------------------------------------------------------------------------------


def test_a_head_that_trickles_in_has_a_deadline(impatient):
    with closing(connected(impatient)) as connection:
        began = time.monotonic()
        connection.settimeout(0.02)
        answer = b""
        for byte in b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"x: y\r\n" * 1000:
            with contextlib.suppress(ConnectionError):
                connection.send(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(65536)
                break
            assert time.monotonic() - began < 60
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()


def test_a_connection_without_a_request_is_closed_without_an_answer(impatient):
    with closing(connected(impatient)) as connection:
        assert all_of(connection) == b""


@pytest.mark.parametrize("path", [b"/chat", b"/v1/messages", b"/healthz"])
def test_a_body_that_stops_is_a_408(impatient, path):
    """Also where the app has answered already, without it."""
    with closing(connected(impatient)) as connection:
        connection.sendall(
            b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b'Content-Length: 1000\r\n\r\n{"messages": ['
        )
        answer = all_of(connection)
    expected = b"405" if path == b"/healthz" else b"408"
    assert answer.startswith(b"HTTP/1.1 " + expected)
    wait_for_streams(impatient, 0)


def test_a_body_that_keeps_coming_is_waited_for(impatient):
    whole = b'{"messages": [{"role": "user", "content": "Hi"}], "stream": false}'
    with closing(connected(impatient)) as connection:
        connection.sendall(
            b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(whole)
        )
        for index in range(0, len(whole), 3):
            connection.sendall(whole[index : index + 3])
            time.sleep(0.06)  # 1.4 s in all, more than the timeout
        assert all_of(connection).startswith(b"HTTP/1.1 200 ")


def test_a_quiet_stream_outlives_the_deadlines(impatient):
    with closing(connected(impatient)) as connection:
        connection.sendall(ENDLESS)
        until(connection, b"data: ")
        connection.settimeout(1.5)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    wait_for_streams(impatient, 0)


@pytest.mark.parametrize("last", [b"", b"Connection: close\r\n"])
@pytest.mark.parametrize("behind", [b"", BATCH])
def test_a_batch_that_nobody_reads_ends_its_connection(impatient, last, behind):
    """It is made, and lies in memory. uvicorn would wait for its reader for ever."""
    address = httpx.URL(impatient)
    with closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((address.host, address.port))
        large = BATCH.replace(b"count=2", b"count=90000").replace(
            b"Host: x\r\n", b"Host: x\r\n" + last
        )
        connection.sendall(large + behind)
        broken = select.poll()
        broken.register(connection, select.POLLERR | select.POLLHUP)  # no POLLIN: it reads nothing
        assert broken.poll(60_000), "the connection is still there"


def test_a_batch_that_is_taken_slowly_arrives(impatient):
    with closing(connected(impatient)) as connection:
        connection.sendall(
            BATCH.replace(b"count=2", b"count=90000").replace(b"Host", b"Connection: close\r\nHost")
        )
        received, pauses = bytearray(), 0
        while chunk := connection.recv(65536):
            received += chunk
            if len(received) > pauses * 200_000:
                pauses += 1
                time.sleep(0.05)  # less than the send timeout, and 1 s in all
    assert len(json.loads(received.partition(b"\r\n\r\n")[2])["data"]) == 90_000


# --- pipelining ----------------------------------------------------------------------------------


def test_a_request_before_the_answer_to_the_last_ends_the_connection(service):
    """RFC 9112, 9.3.2: the client repeats what was not answered."""
    for first, end in ((STREAM, b"0\r\n\r\n"), (BATCH, b"}]}")):
        with closing(connected(service)) as connection:
            connection.sendall(first + BATCH + STREAM)
            received = all_of(connection)
        assert received.count(b"HTTP/1.1 ") == 1
        assert received.endswith(end)


def test_requests_one_after_the_other_share_a_connection(service):
    last = BATCH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with closing(connected(service)) as connection:
        for request, end in (
            (STREAM, b"\r\n0\r\n\r\n"),
            (BATCH, b"}]}"),
            (STREAM, b"\r\n0\r\n\r\n"),
        ):
            connection.sendall(request)
            assert until(connection, end).count(b'"index":1') == 1
        connection.sendall(last)
        assert all_of(connection).count(b'"index":1') == 1


def test_endless_pipelining_is_cut(service):
    """What waits is bounded, in requests and in bytes; the answer under way goes out whole."""
    slow = STREAM.replace(b"interval=0", b"interval=0.3")
    large = b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + b" " * 200_000
    for behind in (BATCH * 200, large):
        with closing(connected(service)) as connection:
            connection.sendall(slow + behind)
            received = all_of(connection)
        assert received.count(b"HTTP/1.1 ") == 1
        assert received.count(b"event: done") == 1
        assert received.endswith(b"\r\n0\r\n\r\n")
    with closing(connected(service)) as connection:
        connection.sendall(ENDLESS + BATCH * 200)
        until(connection, b"data: ")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_for_streams(service, 0)
    assert httpx.get(f"{service}/healthz").status_code == 200


@pytest.mark.parametrize("end", ["FIN", "RST"])
@pytest.mark.parametrize("behind", [BATCH, STREAM * 3, b"POST /chat HTTP/1.1\r\nConte"])
def test_a_stream_with_requests_behind_it_ends_with_its_reader(service, behind, end):
    """uvicorn tells only the newest request that the client has gone."""
    with closing(connected(service)) as connection:
        connection.sendall(ENDLESS + behind)
        until(connection, b"data: ")
        wait_for_streams(service, 1)
        if end == "RST":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_for_streams(service, 0)


def test_nonsense_behind_a_request_does_not_break_into_its_answer(service):
    slow = BATCH.replace(b"interval=0", b"interval=0.1&stream=true")
    with closing(connected(service)) as connection:
        connection.sendall(slow + b"\x00nonsense\r\n\r\n")
        received = all_of(connection)
    assert received.endswith(b"\n\n\r\n0\r\n\r\n")
    assert b" 400 " not in received


# --- methods -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paths() -> dict[str, set[str]]:
    document = create_app(Settings()).openapi()
    known = {path: {method.upper() for method in of} for path, of in document["paths"].items()}
    return known | {"/": {"GET"}, "/metrics": {"GET"}, "/openapi.json": {"GET"}, "/docs": {"GET"}}


def test_head_is_what_get_would_begin_with(service, paths):
    with httpx.Client(base_url=service, timeout=60) as client:
        for path, methods in paths.items():
            path = path.replace("{stream}", "0" * 32).replace("/data", "/data?count=1")
            if "GET" not in methods:
                expected = 404 if path == "/v1/responses/input_tokens" else 405  # no such response
                assert client.head(path).status_code == expected, path
                continue
            for accept in ("application/json", "text/event-stream"):
                head = client.head(path, headers={"accept": accept})
                assert head.content == b""
                if path == "/events" and accept != "application/json":
                    assert head.headers["content-type"] == f"{accept}; charset=utf-8"
                    continue  # it has no end
                if path == "/slow":
                    continue  # it takes its time
                got = client.get(path, headers={"accept": accept})
                assert head.status_code == got.status_code, path
                assert head.headers.get("content-type") == got.headers.get("content-type"), path


def test_head_starts_no_generator(service):
    for _ in range(2):  # the second time on what the first has left
        head, body = asked(service, b"HEAD" + ENDLESS[3:-2] + b"Connection: close\r\n\r\n")
        assert head.startswith(b"http/1.1 200 ")
        assert b"content-type: text/event-stream" in head
        assert body == b""
    assert open_streams(service) == 0


def test_options_says_what_there_is(service, paths):
    """No preflight is answered: other origins are nobody's business by default."""
    asks = {"origin": "https://example.com", "access-control-request-method": "GET"}
    with httpx.Client(base_url=service) as client:
        for path, methods in paths.items():
            answer = client.options(path.replace("{stream}", "0" * 32), headers=asks)
            assert answer.status_code == 405, path
            assert set(answer.headers["allow"].split(", ")) & methods, path
            assert not any(name.startswith("access-control") for name in answer.headers)


# --- the size of a cursor ------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/data?count=1", "/streams/" + "0" * 32])
def test_a_cursor_that_is_none_of_ours_by_its_size_is_a_400(service, path):
    accept = {"accept": "text/event-stream"}
    long = httpx.get(service + path, headers=accept | {"last-event-id": "x" * 1025})
    assert long.status_code == 400
    assert "1024" in long.json()["detail"]
    assert len(long.content) < 500
    fits = httpx.get(service + path, headers=accept | {"last-event-id": "x" * 1024})
    assert fits.status_code == (404 if "streams" in path else 200)


# --- what a connection leaves --------------------------------------------------------------------


@pytest.mark.parametrize("request_", [STREAM, ENDLESS], ids=["whole", "left"])
async def test_a_connection_leaves_nothing_for_the_garbage_collector(request_):
    async with serving(create_app(Settings()), http=StreamingProtocol, log_level="critical") as url:
        address = httpx.URL(url)

        def alive() -> int:
            return sum(isinstance(each, StreamingProtocol) for each in gc.get_objects())

        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                reader, writer = await asyncio.open_connection(address.host, address.port)
                writer.write(request_)
                await reader.readuntil(b"data: ")
                writer.close()
                await writer.wait_closed()
            async with asyncio.timeout(60):
                while alive():
                    await asyncio.sleep(0.01)
        finally:
            gc.enable()


@pytest.mark.parametrize("more", [b"", b"Connection: keep-alive\r\n"])
@pytest.mark.parametrize("whole", [BATCH, STREAM])
def test_an_answer_to_http_1_0_is_not_chunked(service, whole, more):
    with closing(connected(service)) as connection:
        connection.sendall(whole.replace(b"HTTP/1.1\r\n", b"HTTP/1.0\r\n" + more))
        if whole is STREAM or not more:
            head, _, body = all_of(connection).partition(b"\r\n\r\n")
        else:
            answer = b""
            while not answer.endswith(b"}"):  # the end of the document: the connection stays open
                answer += connection.recv(65536)
            head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    if whole is STREAM:
        assert b"connection: close" in head.lower()
        assert body.startswith((b"id: ", b"retry: "))
        assert body.endswith(b"\n\n")
    else:
        assert len(json.loads(body)["data"]) == 2
