"""Very many inputs, for as long as told: no crash, no hang, no growth, and each can be had again.

    python -m tests.fuzz.run [--seconds 300] [--only NAME …] [--seed 1] [--at INPUT] [--keep]

Input 7 of a target is made from the target's name, the seed and the 7; `--at 7` runs it alone, and
lets its failure out. A third of the time is schemathesis', which reads the service's own document,
and another third belongs to the targets `guided-…`, whose inputs atheris makes, led by the code
that they reach. `--keep` adds what it found worth keeping to `corpus/`.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import gc
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import psutil

from tests.conftest import run_service

from .guided import guided
from .parsers import PARSERS
from .service import SERVICE, One, logged
from .targets import TARGETS

GUIDED = {f"guided-{name}": name for name in TARGETS} if sys.platform == "linux" else {}
"""Atheris is for Linux."""

HANGS = 20.0
"""The longest that one input may take, in seconds; alone it takes some milliseconds."""

GROWTH = 30_000_000
"""The most bytes by which a target may grow in its second half; the allocator needs some."""

TOLD = 5
"""So many findings of a target are told in full."""


@dataclasses.dataclass
class Report:
    """What came of one target."""

    target: str
    inputs: int = 0
    seconds: float = 0.0
    findings: list[str] = dataclasses.field(default_factory=list)
    before: int = 0
    after: int = 0

    def __str__(self) -> str:
        rate = self.inputs / self.seconds if self.seconds else 0
        rss = f"{self.before / 1e6:.0f} → {self.after / 1e6:.0f} MB" if self.before else ""
        found = len(self.findings)
        return f"{self.target:24} {self.inputs:9,} inputs {rate:8,.0f}/s {found:4} findings  {rss}"


@contextlib.asynccontextmanager
async def opened(target: str) -> AsyncIterator[One]:
    """The target as an async function of a `Random`."""
    if target in SERVICE:
        async with SERVICE[target]() as one:
            yield one
        return

    async def one(rng: Random) -> None:
        PARSERS[target](rng)

    yield one


def rng_of(target: str, seed: int, number: int) -> Random:
    return Random(f"{target} {seed} {number}")


async def fuzz(target: str, *, seed: int, seconds: float, most: int | None = None) -> Report:
    """Run a target for `seconds`, at most, and with `most` inputs, if that is given."""
    report, process = Report(target), psutil.Process()
    numbers = iter(range(most if most is not None else sys.maxsize))
    began = time.monotonic()

    async def work(one: One) -> None:
        for number in numbers:
            spent = time.monotonic() - began
            if spent > seconds or len(report.findings) >= 50:
                return
            done = max(spent / seconds, number / most if most else 0)
            if not report.before and done > 0.5:  # until then the allocator warms up
                gc.collect()
                report.before = process.memory_info().rss
            try:
                async with asyncio.timeout(HANGS):
                    await one(rng_of(target, seed, number))
            except (Exception, asyncio.CancelledError) as error:
                report.findings.append(f"--only {target} --seed {seed} --at {number}: {error!r}")
            report.inputs += 1

    with logged() as log:
        try:
            async with opened(target) as one:
                workers = 20 if target in SERVICE else 1
                await asyncio.gather(*(work(one) for _ in range(workers)))
                report.seconds = time.monotonic() - began
        except Exception as error:
            report.findings.append(f"{target}: at its end: {error!r}")
    report.findings += [f"{target}: logged: {failure}" for failure in log.failures]
    gc.collect()
    report.after = process.memory_info().rss
    if report.before and report.after - report.before > GROWTH:
        report.findings.append(f"{target}: it grew by {report.after - report.before} bytes")
    return report


def schemathesis(seconds: float, seed: int) -> Report:
    """Let schemathesis find what it can within the time, in the service as a process."""
    report, began = Report("schemathesis"), time.monotonic()
    quick = {"DUAL_MODE_LLM_FIRST": "0", "DUAL_MODE_LLM_RATE": "0"}
    config = Path(__file__).parent.parent / "server" / "schemathesis.toml"
    with run_service("--log-level", "error", "--stream-limit", "0.2", **quick) as service:
        process = psutil.Process(service.process.pid)
        command = [
            *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config)),
            *("run", f"{service.url}/openapi.json", "--max-examples", "100000"),
            *(
                "--max-time",
                str(max(1, round(seconds))),
                "--seed",
                str(seed),
                "--request-timeout",
                "10",
            ),
            *("--workers", "1", "--no-color"),
        ]
        report.before = process.memory_info().rss
        result = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120)
        report.after = process.memory_info().rss
    report.seconds = time.monotonic() - began
    found = re.search(r"([\d,]+) generated", result.stdout)
    report.inputs = int(found[1].replace(",", "")) if found else 0
    if result.returncode != 0:
        report.findings.append(f"schemathesis:\n{result.stdout[-5000:]}{result.stderr[-2000:]}")
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    targets = [*PARSERS, *SERVICE, "schemathesis", *GUIDED]
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--only", nargs="+", choices=targets, default=targets)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at", type=int)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    if given.at is not None:

        async def alone() -> None:
            async with opened(given.only[0]) as one:
                await one(rng_of(given.only[0], given.seed, given.at))

        asyncio.run(alone())
        return 0
    shares = {
        name: 2 if name in SERVICE else 13 if name == "schemathesis" else 1 for name in given.only
    }
    reports = []
    for name in given.only:
        seconds = given.seconds * shares[name] / sum(shares.values())
        if name == "schemathesis":
            report = schemathesis(seconds, given.seed)
        elif name in GUIDED:
            began, (_, known) = time.monotonic(), TARGETS[GUIDED[name]]
            inputs, found = guided(GUIDED[name], seconds, known, keep=given.keep)
            report = Report(name, inputs, time.monotonic() - began, found)
        else:
            report = asyncio.run(fuzz(name, seed=given.seed, seconds=seconds))
        print(report, flush=True)
        for finding in report.findings[:TOLD]:
            print(f"  {finding}", flush=True)
        reports.append(report)
    found = sum(len(report.findings) for report in reports)
    print(f"{sum(report.inputs for report in reports):,} inputs, {found} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
