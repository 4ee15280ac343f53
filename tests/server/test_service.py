"""`dual-mode serve`, as its users meet it: curl, signals, settings."""

import asyncio
import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.settings import Settings, SettingsError, load
from dual_mode_streaming.testing import (
    StreamingTransport,
    assert_done,
    assert_error,
    collect_events,
    read_events,
)
from tests.conftest import DUAL_MODE, not_available

STREAM = {"Accept": "text/event-stream"}
HERE = Path(__file__).parent


def curl(*arguments: str) -> str:
    if shutil.which("curl") is None:
        not_available("curl")
    command = ["curl", "-sS", "--max-time", "20", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_curl_in_all_three_modes(service):
    url = f"{service}/data?count=3&interval=0.01"
    items = [{"index": n, "message": f"Item {n + 1} of 3"} for n in range(3)]
    assert json.loads(curl(url)) == {"data": items}
    assert json.loads(curl("-H", "Accept: application/json", url)) == {"data": items}
    frames = curl("-N", "-H", "Accept: text/event-stream", url)
    assert frames.count("data: ") == 4
    assert "event: done\n" in frames
    assert curl("-N", f"{url}&stream=true").count("id: ") == 4
    lines = curl("-N", "-H", "Accept: application/x-ndjson", url)
    assert [json.loads(line) for line in lines.splitlines()] == items


@pytest.mark.parametrize("query", ["count=-1", "count=1000000001", "interval=-1", "interval=nan"])
def test_what_is_out_of_range_is_a_422(service, query):
    for headers in ({}, STREAM):
        assert httpx.get(f"{service}/data?{query}", headers=headers).status_code == 422


def test_no_items_are_a_whole_answer(service):
    assert httpx.get(f"{service}/data?count=0").json() == {"data": []}
    assert "event: done" in httpx.get(f"{service}/data?count=0&stream=true").text


@pytest.mark.full
async def test_a_billion_items_stream_in_little_memory(start_service):
    import psutil

    running = start_service("--log-level", "warning")
    process = psutil.Process(running.process.pid)
    url = f"{running.url}/data?count=1000000000&interval=0"
    async with httpx.AsyncClient() as client:
        async with client.stream("GET", url, headers=STREAM) as response:
            chunks = response.aiter_bytes()
            received = len(await anext(chunks))
            before = process.memory_info().rss
            while received < 30_000_000:
                received += len(await anext(chunks))
            grown = process.memory_info().rss - before
        response = await client.get(url)
    assert grown < 8_000_000
    assert response.status_code == 413
    assert "text/event-stream" in response.json()["detail"]


async def test_events_of_this_host(service):
    async with httpx.AsyncClient(base_url=service, timeout=60) as client:
        newest = (await client.get("/events")).json()
        assert 0 < newest["memory_percent"] < 100
        assert abs(newest["time"] - time.time()) < 60
        async with client.stream("GET", "/events", headers=STREAM) as response:
            events = await collect_events(response, limit=3)
    assert [event.event for event in events] == [None, None, None]
    assert len({json.loads(event.data)["time"] for event in events}) == 3


async def test_one_sampler_serves_all_readers_and_stops_after_the_last():
    app = create_app(Settings())
    transport = StreamingTransport(app)
    before = asyncio.all_tasks()
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        async with contextlib.AsyncExitStack() as stack:
            readers = []
            for _ in range(20):
                stream = client.stream("GET", "/events", headers=STREAM)
                readers.append(read_events(await stack.enter_async_context(stream)))
            for reader in readers:
                await anext(reader)
            samplers = [
                task for task in asyncio.all_tasks() if task.get_name() == "pump of _samples"
            ]
            assert len(samplers) == 1
        await asyncio.wait(samplers, timeout=60)
        assert samplers[0].done()
        assert (await client.get("/events")).json()["time"] > 0  # it starts anew
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not {task for task in asyncio.all_tasks() - before if not task.done()}


def test_health_docs_and_page(service):
    assert httpx.get(f"{service}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{service}/readyz").json() == {"status": "ok"}
    assert "scalar" in httpx.get(f"{service}/docs").text
    page = httpx.get(f"{service}/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "http://" not in page.text.replace("http://www.w3.org", ""), "the page loads nothing"
    assert httpx.get(f"{service}/openapi.json").json()["openapi"] == "3.2.0"


@pytest.mark.parametrize(
    ("workers", "number"),
    [
        ("1", signal.SIGINT),
        ("2", signal.SIGTERM),
        pytest.param("1", signal.SIGTERM, marks=pytest.mark.full),
        pytest.param("2", signal.SIGINT, marks=pytest.mark.full),
    ],
)
async def test_a_shutdown_ends_open_streams(start_service, number, workers, tmp_path):
    store = f"sqlite:{tmp_path}/streams.db"
    running = start_service("--log-level", "warning", "--workers", workers, "--store", store)
    async with httpx.AsyncClient(base_url=running.url, timeout=60) as client:
        data = "/data?count=1000&interval=3600"
        async with (
            client.stream("GET", data, headers=STREAM) as finite,
            client.stream("GET", "/events", headers=STREAM) as feed,
        ):
            finite_events, feed_events = read_events(finite), read_events(feed)
            await anext(finite_events)
            await anext(feed_events)
            assert await asyncio.to_thread(running.stop, number) == 0
            assert_error([event async for event in finite_events], 503)
            assert all(event.event is None for event in [event async for event in feed_events])


@pytest.mark.full
def test_several_workers_keep_the_flags(start_service, tmp_path):
    flags = ["--workers", "2", "--stream-limit", "0.2", "--store", f"sqlite:{tmp_path}/x.db"]
    running = start_service("--log-level", "warning", *flags)
    for _ in range(4):
        with httpx.stream(
            "GET", f"{running.url}/data?count=2&interval=60", headers=STREAM, timeout=60
        ) as response:
            assert "503" in response.read().decode()


async def test_two_services_in_one_process_know_nothing_of_each_other():
    from dual_mode_streaming import drain

    first, second = create_app(Settings()), create_app(Settings())
    async with (
        httpx.AsyncClient(transport=StreamingTransport(first), base_url="http://1") as one,
        httpx.AsyncClient(transport=StreamingTransport(second), base_url="http://2") as two,
    ):
        path = "/data?count=3&interval=0.05"
        async with one.stream("GET", path, headers=STREAM) as cut:
            events, _ = await asyncio.gather(collect_events(cut), drain(first))
            assert_error(events, 503)
        assert (await one.get("/readyz")).status_code == 503
        assert (await two.get("/readyz")).status_code == 200
        async with two.stream("GET", path, headers=STREAM) as whole:
            assert len(assert_done(await collect_events(whole))) == 3


@pytest.mark.parametrize(
    ("flags", "variables", "message"),
    [
        (["--port", "x"], {}, "--port=x: should be a valid integer"),
        (
            [],
            {"DUAL_MODE_PROT": "1"},
            "DUAL_MODE_PROT: there is no such setting; the settings are DUAL_MODE_",
        ),
        *(
            pytest.param(*wrong, marks=pytest.mark.full)
            for wrong in (
                (["--port", "70000"], {}, "--port=70000: should be less than or equal to 65535"),
                (["--heartbeat", "0"], {}, "--heartbeat=0: should be greater than 0"),
                (["--store", "x://y"], {}, "--store=x://y: should be"),
                ([], {"DUAL_MODE_GRACE": "nan"}, "DUAL_MODE_GRACE=nan: should be a finite"),
                ([], {"DUAL_MODE_LOG_LEVEL": "loud"}, "DUAL_MODE_LOG_LEVEL=loud: should be 'cri"),
            )
        ),
    ],
)
def test_a_wrong_setting_is_one_line_before_anything_starts(flags, variables, message):
    import os

    result = subprocess.run(
        [DUAL_MODE, "serve", *flags],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | variables,
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_flags_win_over_variables(monkeypatch):
    monkeypatch.setenv("DUAL_MODE_HEARTBEAT", "3")
    assert load().heartbeat == 3
    assert load(heartbeat="4").heartbeat == 4
    assert load(heartbeat=None).response_options()["heartbeat"] == 3
    with pytest.raises(SettingsError):
        load(workers="0")


def test_a_taken_port_is_a_message(service):
    port = service.rpartition(":")[2]
    result = subprocess.run(
        [DUAL_MODE, "serve", "--port", port], capture_output=True, text=True, timeout=60
    )
    assert result.returncode != 0
    assert "already in use" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_command_line_says_what_it_can():
    text = subprocess.run([DUAL_MODE, "--help"], capture_output=True, text=True).stdout
    assert "serve" in text
    version = subprocess.run([DUAL_MODE, "--version"], capture_output=True, text=True).stdout
    assert version.strip() == "0.1.0"


@pytest.mark.full  # 20 s and more; tests/fuzz bends requests to every route in a moment
@pytest.mark.parametrize("examples", [60])
@pytest.mark.timeout(600)
def test_schemathesis_finds_no_violation(start_service, examples):
    quick = {"DUAL_MODE_LLM_FIRST": "0", "DUAL_MODE_LLM_RATE": "0"}
    running = start_service("--log-level", "error", "--stream-limit", "0.2", **quick)
    result = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "--config-file",
            str(HERE / "schemathesis.toml"),
            "run",
            f"{running.url}/openapi.json",
            "--max-examples",
            str(examples),
            "--request-timeout",
            "10",
            "--workers",
            "1",  # with more, CPython 3.11's ast.parse may fail: "recursion depth mismatch"
        ],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout
    assert "No issues found" in result.stdout
