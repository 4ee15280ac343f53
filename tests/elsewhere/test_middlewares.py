"""Middlewares and sessions of other libraries around our answers, with the real packages."""

import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.environments import document_of, environment, variables_of

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]  # the environment is to be made first

HERE = Path(__file__).parent
MODES = ["batch", "stream", "lines"]


@pytest.fixture(scope="module")
def home():
    return environment("middlewares", HERE / "middlewares.txt")


@pytest.fixture(scope="module")
def seen(home, tmp_path_factory):
    program = HERE / "middlewares.py"
    folder = tmp_path_factory.mktemp("words")
    return document_of([home / "bin" / "python", program, folder], home)


MIDDLEWARES = ["starlette-compress", "asgi-correlation-id", "slowapi"]
TRACED = ["opentelemetry", "opentelemetry before"]  # instrumented after and before install


@pytest.mark.parametrize("library", MIDDLEWARES + TRACED)
def test_answers_pass_through_and_a_client_that_leaves_is_noticed(seen, library):
    each = {mode: [0, 1, 2] for mode in MODES}
    assert seen[library]["three"] == each
    assert seen[library]["recorded"] == each
    assert seen[library]["left"] is True


def test_the_generator_sees_the_id_of_its_request(seen):
    for mode in MODES:
        assert seen["asgi-correlation-id"][f"id {mode}"] == [f"id-{mode}"] * 3


@pytest.mark.parametrize("order", TRACED)
def test_each_answer_has_one_span_that_ends(seen, order):
    assert seen[order]["spans"] == ["GET /left", "GET /recorded", "GET /three"]


def test_a_rate_limit_refuses(seen):
    assert seen["slowapi"]["beyond"] == 429


@pytest.mark.parametrize("path", ["inside", "depends", "given", "plain"])
def test_a_session_lasts_as_long_as_its_stream(seen, path):
    assert seen["sqlalchemy"][path] == {mode: ["a", "b", "c"] for mode in MODES}


def test_a_session_is_given_back_when_the_client_leaves(seen):
    assert seen["sqlalchemy"]["left"] is True


APP = """
import asyncio
from collections.abc import AsyncIterator
from fastapi import FastAPI
from dual_mode_streaming import dual_mode, install

app = FastAPI()
install(app)

@app.get("/endless")
@dual_mode
async def endless() -> AsyncIterator[int]:
    n = 0
    while True:
        yield (n := n + 1)
        await asyncio.sleep(0.01)
"""


def test_gunicorn_ends_its_streams_at_sigterm(home, tmp_path):
    (tmp_path / "served.py").write_text(APP)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(home / "bin" / "python", "-m", "gunicorn", "served:app", "--workers", "2"),
        *("--worker-class", "uvicorn_worker.UvicornWorker", "--bind", f"127.0.0.1:{port}"),
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=variables_of(home), stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 60
        while "Application startup complete" not in (tmp_path / "log").read_text():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)  # it tells nobody else
        with httpx.stream(
            "GET", f"http://127.0.0.1:{port}/endless?stream=true", timeout=60
        ) as answer:
            body = answer.iter_text()
            text = next(body)
            process.send_signal(signal.SIGTERM)
            text += "".join(body)
        assert "the server is shutting down" in text
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
