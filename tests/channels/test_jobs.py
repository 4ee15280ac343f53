"""The recipe of docs/channels.md: a real Celery worker writes, and its watchers resume."""

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from dual_mode_streaming import EventDecoder
from tests.conftest import ROOT
from tests.environments import environment, variables_of
from tests.stores.redis_server import free_port

HERE = Path(__file__).parent


@contextlib.contextmanager
def process(command, home, folder, url):
    variables = variables_of(home) | {"REDIS_URL": url, "PYTHONUNBUFFERED": "1"}
    with (folder / f"{command[1]}.log").open("wb") as log:
        started = subprocess.Popen(
            [home / "bin" / command[0], *command[1:]],
            cwd=folder,
            env=variables,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


@pytest.fixture
def program(redis_server, tmp_path):
    """The folder with the app of the page; a job may pause after each message."""
    redis_server.ask("FLUSHALL")
    page = (ROOT / "docs" / "channels.md").read_text("utf-8")
    program = re.search(r'```python title="jobs.py"\n(.*?)```', page, re.DOTALL)[1]
    for before, after in {
        "import os\n": "import os\nimport time\n",
        "rows: int) -> None:": "rows: int, pause: float) -> None:",
        "rows: int = 3)": "rows: int = 3, pause: float = 0)",
        "delay(ticket, rows)": "delay(ticket, rows, pause)",
        "of=rows))\n": "of=rows))\n            time.sleep(pause)\n",
    }.items():
        assert program.count(before) == 1
        program = program.replace(before, after)
    (tmp_path / "jobs.py").write_text(program)
    return tmp_path


@pytest.fixture
def home():
    return environment("celery", HERE / "celery.txt")


@pytest.fixture
def worker(program, home, redis_server):
    """The Celery worker, which runs the jobs in processes of its own."""
    command = ["celery", "-A", "jobs:queue", "worker", "-c", "2", "--loglevel", "warning"]
    with process(command, home, program, redis_server.url) as started:
        yield started


@pytest.fixture
def url(program, home, worker, redis_server):
    """The address of the app of the page."""
    port = str(free_port())
    server = ["uvicorn", "jobs:app", "--port", port, "--log-level", "warning"]
    with process(server, home, program, redis_server.url):
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{address}/docs")
                break
            time.sleep(0.05)  # it tells nobody when it is ready
        yield address


def events(url, count=None, cursor=""):
    """The first events of a job's stream, then the watcher leaves."""
    headers = {"accept": "text/event-stream"} | ({"last-event-id": cursor} if cursor else {})
    decoder = EventDecoder()
    with httpx.stream("GET", url, headers=headers, timeout=60) as response:
        assert response.status_code == 200
        parts = (decoder.feed(part) for part in response.iter_raw())
        return list(itertools.islice(itertools.chain.from_iterable(parts), count))


@pytest.mark.full
@pytest.mark.timeout(300)  # the environment is to be made first
def test_a_job_in_a_celery_worker_is_watched_and_resumed(url):
    ticket = httpx.post(f"{url}/reports?rows=50").json()
    watched = f"{url}/reports/{ticket}"
    seen = events(watched, 5)
    while True:
        more = events(watched, 20, seen[-1].id)
        seen += more
        if more[-1].event == "done":
            break
    messages = seen[:-1]
    assert [json.loads(event.data)["done"] for event in messages] == [*range(1, 51)]
    assert len(httpx.get(watched).json()["data"]) == 50
    first = httpx.post(f"{url}/reports?rows=1")
    assert (first.status_code, first.headers["location"]) == (202, f"/reports/{first.json()}")
    failing = httpx.post(f"{url}/reports?rows=100").json()
    *messages, error = events(f"{url}/reports/{failing}")
    assert len(messages) == 99
    assert (error.event, json.loads(error.data)["detail"]) == ("error", "too many rows")


def progress_of(url):
    return [each["done"] for each in httpx.get(url).json()["data"]]


@pytest.mark.full
@pytest.mark.timeout(300)
def test_a_job_whose_worker_is_killed_is_told_as_interrupted(url, worker):
    ticket = httpx.post(f"{url}/reports?rows=90&pause=0.1").json()
    watched = f"{url}/reports/{ticket}"
    seen = events(watched, 3)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    *messages, end = events(watched, cursor=seen[-1].id)
    assert end.event == "interrupted"
    numbers = [json.loads(event.data)["done"] for event in messages]
    assert numbers == [*range(4, 4 + len(numbers))]
    assert httpx.get(watched).json()["outcome"] == "interrupted"


@pytest.mark.full
@pytest.mark.timeout(300)
def test_a_job_whose_process_is_killed_is_continued_by_the_next(url, worker):
    ticket = httpx.post(f"{url}/reports?rows=60&pause=0.1").json()
    watched = f"{url}/reports/{ticket}"
    seen = events(watched, 3)
    processes = subprocess.run(
        ["pgrep", "-P", str(worker.pid)], capture_output=True, text=True, check=True
    )
    for child in processes.stdout.split():
        os.kill(int(child), signal.SIGKILL)
    *messages, end = events(watched, cursor=seen[-1].id)
    if end.event == "interrupted":  # the server looked first; the next job begins anew
        while not messages or json.loads(messages[-1].data)["done"] < 60:
            *messages, end = events(watched)
        seen = []
    assert end.event == "done"
    assert [json.loads(event.data)["done"] for event in seen + messages] == [*range(1, 61)]
