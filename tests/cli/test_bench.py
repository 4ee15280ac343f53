"""`dual-mode bench`: its statistics, its forms, and its exit codes."""

import asyncio
import contextlib
import json
import random
import signal
import socket

import pytest

from dual_mode_streaming.commands._load_connection import LoadConnection
from dual_mode_streaming.commands._statistics import Distribution, LoadStatistics

from .conftest import Terminal, started


@pytest.mark.parametrize("seed", range(5))
def test_a_percentile_is_within_one_percent(seed):
    dice = random.Random(seed)
    values = sorted(dice.lognormvariate(-3, 2) for _ in range(1 + seed * 1000))
    distribution = Distribution()
    for value in dice.sample(values, len(values)):
        distribution.add(value)
    for percent in (50, 95, 99):
        rank = -(-len(values) * percent // 100)
        assert distribution.percentile(percent) == pytest.approx(values[rank - 1], rel=0.01)
    assert distribution.longest == values[-1]


def test_of_nothing_there_are_no_statistics():
    told = LoadStatistics().as_json()["milliseconds"]["total"]
    assert told == {"count": 0, "p50": None, "p95": None, "p99": None, "max": None}


def test_the_service_is_measured_in_every_mode(run, quick):
    url = f"{quick}/data?count=5&interval=0.02"
    command = ["bench", url, "-c", "3", "-n", "6", "-z", "20"]
    forms = (["--json"], ["--json", "--mode", "lines"], ["--json", "--mode", "batch"], [])
    answers = run.all(*([*command, *form] for form in forms))
    assert [(answer.code, answer.stderr) for answer in answers] == [(0, "")] * 4
    stream, lines, batch = (json.loads(answer.stdout) for answer in answers[:3])
    for told in (stream, lines):
        assert (told["answers"], told["events"], told["errors"]) == (6, 30, 0)
        times = told["milliseconds"]
        assert [times[name]["count"] for name in times] == [6, 24, 6]
        assert 0 < times["between_events"]["p50"] < times["total"]["max"]
        assert 79 < times["total"]["p50"] <= times["total"]["p99"] <= times["total"]["max"]
        assert times["first_event"]["p50"] < times["total"]["p50"]
    assert (batch["answers"], batch["events"]) == (6, 0)
    table = answers[3].stdout
    assert all(word in table for word in ("first event", "between events", "total", "p50", "p99"))
    assert "\x1b" not in table


def test_errors_are_counted_and_have_their_code(run, quick, scripted):
    cut = b"data: 1\n\n"
    scripted.answers = [lambda connection: connection.send(cut)]
    command = ["bench", "-n", "2", "-c", "1", "--json"]
    missing, broken, page = run.all(
        [*command, f"{quick}/none"],
        [*command, scripted.url],
        [*command, f"{quick}/docs"],
    )
    assert (missing.code, broken.code, page.code) == (4, 6, 1)
    assert json.loads(missing.stdout)["errors_by_kind"] == {"status 404": 2}
    assert json.loads(broken.stdout)["errors"] == 2
    assert json.loads(page.stdout)["errors_by_kind"] == {"the answer is text/html": 2}


def test_a_redirect_is_an_error_that_says_where_to(run, scripted):
    lines = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"
    scripted.answers = [lambda connection: connection.socket.sendall(lines)]
    answer = run("bench", "-n", "1", "-c", "1", "--json", scripted.url)
    assert answer.code == 1
    assert json.loads(answer.stdout)["errors_by_kind"] == {"status 307: redirected to /b": 1}


def test_an_answer_that_outlasts_the_time_is_no_error(run, quick):
    answer = run("bench", f"{quick}/data?interval=60", "-z", "3", "-c", "2", "--json")
    told = json.loads(answer.stdout)
    assert (answer.code, told["answers"], told["unfinished"], told["errors"]) == (0, 0, 2, 0)
    assert told["events"] == 2


def test_ctrl_c_shows_what_was_measured(scripted):
    import threading

    asked = threading.Event()

    def answer(connection):
        connection.send(b"data: 1\n\n")
        asked.set()
        connection.wait_until_gone()

    scripted.answers = [answer]
    with started("bench", scripted.url, "-c", "1") as process:
        assert asked.wait(60)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "")
    assert "1 unfinished" in stdout


def test_at_a_terminal_it_shows_how_far_it_is(quick):
    with Terminal("bench", f"{quick}/data?count=3&interval=0.01", "-z", "0.7") as terminal:
        terminal.until("events, 0 errors; first event p50")
        terminal.until("between events")
        assert terminal.left() == 0


class Taking(LoadConnection):
    body = b""

    def __init__(self):
        super().__init__()
        self.lost = asyncio.Event()

    def connection_lost(self, error):
        super().connection_lost(error)
        self.lost.set()

    def body_received(self, data):
        assert data
        self.body += data


ANSWERS = {
    "chunked": b"Transfer-Encoding: chunked\r\n\r\n3\r\nab\n\r\n4;x=y\r\ncdef\r\n0\r\n\r\n",
    "trailers": b"transfer-encoding: chunked\r\n\r\n7\r\nab\ncdef\r\n0\r\nX: y\r\n\r\n",
    "length": b"Content-Length: 7\r\n\r\nab\ncdef",
}


@contextlib.asynccontextmanager
async def connected():
    """A connection, and the socket at its other end."""
    ours, theirs = socket.socketpair()
    with theirs:
        _, connection = await asyncio.get_running_loop().create_connection(Taking, sock=ours)
        yield connection, theirs
        connection.transport.abort()
        await connection.lost.wait()


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"])
def test_an_answer_is_read_wherever_it_is_cut(answer, interim):
    async def read():
        async with connected() as (connection, _):
            wire = interim + b"HTTP/1.1 200 OK\r\n" + answer
            for size in range(1, len(wire) + 1):
                connection.body = b""
                done = connection.send(b"-")
                for at in range(0, len(wire), size):
                    assert not done.done()
                    connection.data_received(wire[at : at + size])
                assert done.done()
                await done
                assert (connection.status, connection.body) == (200, b"ab\ncdef")
            connection.data_received(b"more")  # which belongs to no request

    asyncio.run(read())


@pytest.mark.parametrize(
    ("wire", "body", "error"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nab", b"ab", None),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", b"ab", "closed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab", b"ab", "closed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\nab", b"", "not valid"),
        (b"SSH-2.0\r\n\r\n", b"", "not valid"),
        (b"", b"", "closed"),
    ],
)
def test_an_answer_that_ends_with_its_connection(wire, body, error):
    async def read():
        async with connected() as (connection, theirs):
            done = connection.send(b"-")
            assert theirs.recv(1) == b"-"
            theirs.sendall(wire)
            theirs.close()
            if error is None:
                await done
            else:
                with pytest.raises(ConnectionError, match=error):
                    await done
            assert connection.body == body

    asyncio.run(read())
