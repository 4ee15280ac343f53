"""Each target for a moment; `make fuzz` is the long run."""

import asyncio
import itertools

import pytest

from .guided import corpus_of
from .parsers import PARSERS
from .run import fuzz, rng_of, schemathesis
from .service import SERVICE
from .targets import TARGETS

FEW = {"faces": 800, "routes": 500, "bodies": 400, "sockets": 300, "upstreams": 600}


@pytest.mark.parametrize("target", [*PARSERS, *SERVICE])
def test_a_moment_of_fuzzing_finds_nothing(target):
    report = asyncio.run(fuzz(target, seed=7, seconds=30, most=FEW.get(target, 1500)))
    assert not report.findings, report.findings
    assert report.inputs == FEW.get(target, 1500)


def test_a_finding_can_be_had_again():
    assert rng_of("faces", 1, 2).random() == rng_of("faces", 1, 2).random()
    assert rng_of("faces", 1, 2).random() != rng_of("faces", 1, 3).random()


async def test_what_fails_hangs_or_grows_is_found(monkeypatch):
    kept, calls = [], itertools.count(1)

    def bad(rng):
        if next(calls) == 70:
            raise RuntimeError("on purpose")
        kept.append(b"x" * 1_000_000)

    monkeypatch.setitem(PARSERS, "accept", bad)
    report = await fuzz("accept", seed=1, seconds=50, most=200)
    assert report.findings[0] == "--only accept --seed 1 --at 69: RuntimeError('on purpose')"
    assert "it grew by" in report.findings[-1]


@pytest.mark.full
@pytest.mark.timeout(200)
def test_a_minute_of_schemathesis_finds_nothing():
    report = schemathesis(60, seed=7)
    assert not report.findings, report.findings
    assert report.inputs > 100


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_of_each_guided_target_is_read_without_a_finding(target):
    read, known = TARGETS[target]
    for data in (b"", *known, *corpus_of(target)):
        read(data)
