"""A short soak, and that what one would find is found; `make soak` is the long one."""

import contextlib
import os
import random
import subprocess
from types import SimpleNamespace

import httpx
import pytest

from tests.conftest import ROOT
from tests.faults.checks import differences
from tests.faults.workers import Line

from .observed import ObservedService
from .readers import Readers
from .slope import slope

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFL"))}


def samples(an_hour, noise, count=400):
    """Two a second of a memory that rises so, with a noise that wanders."""
    dice = random.Random(1)
    wander = 0.0
    for n in range(count):
        wander = 0.8 * wander + dice.gauss(0, noise)
        yield n / 2, 70 + an_hour / 3600 * n / 2 + wander


def test_a_rise_is_told_from_noise():
    assert not slope(list(samples(0, noise=0.1))).exceeds(20)
    assert slope(list(samples(100, noise=0.1))).exceeds(20)
    steady = slope(list(samples(36, noise=0)))
    assert steady.an_hour == pytest.approx(36)
    assert steady.exceeds(20)
    assert not slope([(0.0, 70.0), (1.0, 90.0)]).exceeds(20)  # two are no measure


def test_the_margin_is_that_of_a_known_line():
    """Alternating residuals of 1 about a level: no rise, and the margin that a textbook gives."""
    found = slope([(float(n), (-1.0) ** n) for n in range(100)])
    assert abs(found.an_hour) < found.margin
    assert found.margin == pytest.approx(1.96 * (100 / 98 / 83325) ** 0.5 * 3600, rel=0.01)


@pytest.mark.parametrize(
    ("given", "lost", "duplicated", "reordered"),
    [
        ([0, 1, 2, 3], 0, 0, 0),
        ([0, 2, 3], 1, 0, 0),
        ([0, 1, 1, 2, 3], 0, 1, 0),
        ([0, 2, 1, 3], 0, 0, 1),
        ([], 4, 0, 0),
    ],
)
def test_what_is_wrong_is_counted(given, lost, duplicated, reordered):
    expected = {"lost": lost, "duplicated": duplicated, "reordered": reordered}
    assert differences(given, 4) == expected
    assert differences([n + 1 for n in given], 4, first=1) == expected


@pytest.mark.full
def test_what_is_open_in_a_service_is_seen(redis_server):
    served = ObservedService(redis_server.url)
    with contextlib.ExitStack() as stack:
        stack.callback(served.kill)
        assert httpx.get(f"{served.url}/data?count=1&stream=true").is_success
        before = served.settled()
        with httpx.stream("GET", f"{served.url}/data?count=2&interval=3600&stream=true") as answer:
            chunks = answer.iter_raw()  # which would end the stream if nobody had it
            assert next(chunks)
            during = served.open()
            for name in ("tasks", "generators", "descriptors"):
                assert during[name] > before[name], name
            assert during.get("streams", 1) == 1
        assert served.settled(before) == before
        assert served.stop() == 0


def soaked():
    return subprocess.run(
        ["make", "soak", "SECONDS=5", "READERS=12"],
        cwd=ROOT,
        env=CLEAN,
        capture_output=True,
        text=True,
        timeout=110,
    )


@pytest.mark.full
@pytest.mark.timeout(120)
def test_a_short_soak_finds_nothing():
    done = soaked()
    assert done.returncode == 0, done.stdout + done.stderr
    figures = dict(line.rsplit(None, 1) for line in done.stdout.splitlines() if " " in line)
    for name in (
        "batch",
        "lines",
        "chat",
        "channel",
        "front_end",
        "events",
        "cuts",
        "line cuts",
        "stalls",
    ):
        assert int(figures[name].replace(",", "")) > 0, name


@pytest.mark.full
async def test_a_service_that_cuts_its_streams_short_is_found_out(redis_server, monkeypatch):
    monkeypatch.setenv("DUAL_MODE_STREAM_LIMIT", "0.01")
    served = ObservedService(redis_server.url)
    try:
        async with Line(SimpleNamespace(workers=[served])) as line:
            readers = Readers([served], line, random.Random(1))
            for _ in range(5):
                await readers.one(readers.stream)
        assert readers.problems
        assert readers.counts["lost"] > 0
    finally:
        served.kill()
