"""The end of the process when its store does not answer: within the promised time all the same."""

import fcntl
import signal
import sqlite3
import time
from contextlib import closing

import httpx
import pytest

from tests.stores.redis_server import RedisServer

PROMISED = 4 + 3
"""DRAIN_TIMEOUT, and a while for what the promise calls shortly after it."""

CHAT = {"messages": "Tell me of rivers."}


def begin(running):
    """Start recordings that take long, and leave them."""
    for _ in range(3):
        begun = httpx.post(f"{running.url}/chat", json=CHAT, headers={"prefer": "respond-async"})
        assert begun.status_code == 202
    return begun.headers["location"]


def end(running):
    began = time.monotonic()
    code = running.stop()
    assert code == 0
    return time.monotonic() - began


@pytest.mark.full
@pytest.mark.parametrize("locked", ["by a worker", "by another program"])
def test_a_locked_file_does_not_hold_up_the_end(start_service, tmp_path, locked):
    file = tmp_path / "streams.db"
    running = start_service("--store", f"sqlite:{file}", DUAL_MODE_LLM_RATE="0.5")
    begin(running)
    if locked == "by a worker":
        with open(f"{file}-lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert end(running) < PROMISED
    else:
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("begin immediate")
            assert end(running) < PROMISED


@pytest.mark.full
def test_a_redis_that_does_not_answer_does_not_hold_up_the_end(start_service, tmp_path):
    server = RedisServer(tmp_path)
    server.start()
    try:
        running = start_service("--store", server.url, DUAL_MODE_LLM_RATE="0.5")
        location = begin(running)
        with httpx.stream("GET", running.url + location) as answer:
            server.signal(signal.SIGSTOP)
            assert end(running) < PROMISED
            answer.close()
    finally:
        server.kill()


@pytest.mark.full
def test_a_redis_that_is_gone_does_not_hold_up_the_end(start_service, tmp_path):
    server = RedisServer(tmp_path)
    server.start()
    running = start_service("--store", server.url, DUAL_MODE_LLM_RATE="0.5")
    begin(running)
    server.kill()
    assert end(running) < PROMISED
