"""Faults of recorded streams with real processes: a reader receives what it would without a fault.

Nothing is missing or repeated, and an ended stream is never shown as running. Faults of the store
are in `test_store_faults.py`.
"""

import asyncio
import contextlib
import itertools
import json
import select
import socket
import time

import httpx
import pytest

from dual_mode_streaming.sse import EventDecoder

from .app import items_of
from .workers import LEASE, Line

ON_REDIS_IN_FULL = pytest.param("redis", marks=pytest.mark.full)
BOTH_IN_FULL = pytest.mark.parametrize("stage", ["sqlite", ON_REDIS_IN_FULL], indirect=True)

BUSY = 5.0  # seconds by which a busy machine may be late

SEEDS = itertools.count(1)


def signers(reader):
    """Return the processes that made the items, in order."""
    return [by for by, _ in itertools.groupby(json.loads(data)["by"] for data in reader.data)]


def numbers(reader):
    return [json.loads(data)["n"] for data in reader.data]


async def state_of(worker, path):
    """Return a stream's status at one worker: 200 is done, 202 running, 409 another end."""
    async with httpx.AsyncClient(base_url=worker.url) as http:
        return (await http.get(path)).status_code


@contextlib.asynccontextmanager
async def watching(worker, path):
    """Poll the status of a stream at one worker; at the end, check that it never went back."""
    statuses = []

    async def watch():
        async with httpx.AsyncClient(base_url=worker.url) as http:
            while True:
                statuses.append((await http.get(path)).status_code)
                await asyncio.sleep(0.02)

    task = asyncio.create_task(watch())
    try:
        yield statuses
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [status for status, _ in itertools.groupby(statuses)] in ([202], [202, 200], [202, 409])


@pytest.mark.parametrize("rounds", [2, pytest.param(40, marks=pytest.mark.full)])
async def test_a_client_that_is_cut_at_any_byte_has_what_an_uncut_one_has(stage, reading, rounds):
    async with Line(stage, mean=6000, seed=rounds) as line:
        seeds = [next(SEEDS) for _ in range(rounds)]
        path = "/items?seed={}&count=200&size=24&pause=0.002"
        readers = [reading(line.url, path.format(seed)) for seed in seeds]
        for seed, reader in zip(seeds, readers, strict=True):
            assert await reader.ended() == "done"
            assert reader.data == items_of(seed, 200, 24)
            assert not reader.resets
            for worker in stage.workers:
                assert await state_of(worker, reader.path) == 200
    assert line.cuts >= 5 * rounds


@pytest.mark.parametrize("stage", ["sqlite", "redis"], indirect=True)
@pytest.mark.parametrize(
    "measured", [False, *(pytest.param(True, marks=pytest.mark.full, id=str(n)) for n in range(5))]
)
async def test_a_killed_worker_is_followed_by_another(stage, reading, measured):
    there, other = stage.all_up()
    resumable = reading(there.url, "/items?seed=7&count=120&pause=0.015&signed=1")
    once = reading(there.url, "/once?seed=7&count=9999&pause=0.02&signed=1")
    await resumable.until(20)
    await once.until(20)
    seen, rest = (reading(other.url, reader.path) for reader in (resumable, once))
    async with watching(other, resumable.path), watching(other, once.path) as statuses:
        await seen.until(30)
        await rest.until(30)
        pid = there.pid
        stage.kill(0)
        killed = time.monotonic()
        await seen.until(generation=2)
        assert await rest.ended() == "interrupted"
        if measured:
            assert time.monotonic() - killed < 2 * LEASE + BUSY
        assert await seen.ended() == "done"
    assert numbers(seen) == [*range(120)]
    assert len(signers(seen)) == 2
    assert signers(seen)[0] == pid
    assert numbers(rest) == [*range(len(rest.seen))]
    assert json.loads(rest.events.end_data)["items"] == len(rest.seen)
    assert statuses[-1] == 409
    for worker in stage.all_up():
        assert await state_of(worker, resumable.path) == 200
        assert await state_of(worker, once.path) == 409


async def test_a_zombie_is_fenced(stage, reading):
    there, other = stage.all_up()
    first = reading(there.url, "/items?count=120&pause=0.015&signed=1")
    await first.until(10)
    seen = reading(other.url, first.path)
    await seen.until(20)
    await asyncio.to_thread(stage.suspend, there)
    try:
        await seen.until(generation=2)
    finally:
        there.wake()
    assert await seen.ended() == "done"
    assert numbers(seen) == [*range(120)]
    assert signers(seen) == [there.pid, other.pid]
    assert await first.ended() == "done"  # the zombie's own reader
    for worker in stage.workers:
        again = reading(worker.url, first.path)
        assert await again.ended() == "done"
        assert again.seen == first.seen == seen.seen


async def test_what_was_trimmed_is_told(stage, reading):
    """The workers keep 400 entries."""
    there, other = stage.all_up()
    first = reading(there.url, "/items?count=600&pause=0.0005&size=8")
    await first.until(10)
    place = first.seen[9][0]
    assert await first.ended() == "done"
    later = reading(other.url, first.path, last_event_id=place)
    assert await later.ended() == "done"
    assert [reset["reason"] for reset in later.resets] == ["trimmed"]
    assert later.resets[0]["requested"] == place
    assert later.data == items_of(0, 600, 8)[-399:]  # and the end
    whole = items_of(0, 600, 8)
    assert first.data == whole[-len(first.data) :]
    assert first.resets or first.data == whole


@BOTH_IN_FULL
async def test_a_subscriber_that_takes_nothing_is_dropped_and_resumes(stage, reading):
    """Its socket is not read until the server closes it; then the client resumes by its cursor."""
    there, other = stage.all_up()
    path = "/items?count=150&size=16000&pause=0.0001&seed=3"
    with socket.socket() as unread:
        unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        unread.connect(("127.0.0.1", there.port))
        request = f"GET {path} HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n"
        unread.sendall(request.encode())
        poll = select.poll()
        poll.register(unread, 0)  # only wait until it is broken
        assert await asyncio.to_thread(poll.poll, 10_000)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while data := unread.recv(65536):
                received += data
    head, _, body = received.partition(b"\r\n\r\n")
    at = head.lower().index(b"location: ") + len(b"location: ")
    where = head[at:].split(b"\r\n")[0].decode()
    events = EventDecoder().feed(unchunked(body))
    place = events[-1].id if events else f"{where.rpartition('/')[2]}.1.0"
    rest = reading(other.url, where, last_event_id=place)
    assert await rest.ended() == "done"
    assert [event.data for event in events] + rest.data == items_of(3, 150, 16000)
    assert len(rest.seen) > 0


def unchunked(body):
    """Decode a chunked body (RFC 9112, section 7.1); its last chunk may be incomplete."""
    found = b""
    while body:
        size, newline, body = body.partition(b"\r\n")
        if not newline or not int(size, 16):
            break
        found += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return found
