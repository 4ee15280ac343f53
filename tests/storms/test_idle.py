"""Thousands of streams that are open and quiet: what each costs, beside FastAPI's own, and whether
others are served and all end well."""

import contextlib
import signal
import time

import pytest

from tests.conftest import Service, run_service

from .crowd import ANY_NUMBER, KILOBYTES, Client, Waits, files_for, load, served

IDLE = "/data?count=2&interval=3600"


def memory_before(service: Service) -> int:
    """The memory of a server that has had streams, so that what there is to load is loaded."""
    with load(service.url, IDLE, 20) as readers:
        readers.ask("vanish")
    Client(service.url).get("/healthz")
    return service.memory()


@contextlib.contextmanager
def all_idle(service: Service, many: int, name: str):
    """Open them, with others being served. Gives the readers, what each costs in kB, and
    how long others waited in ms, but for one in a hundred."""
    before = memory_before(service)
    with contextlib.ExitStack() as stack:
        with Waits(service.url) as waits:
            readers = stack.enter_context(load(service.url, IDLE, many))
            waits.some_more()
        each = (service.memory() - before) / readers.open / 1000
        print(f"{readers.open} idle streams of {name}: {each:.1f} kB each; {waits}")
        yield readers, each, waits.share(0.99)


@pytest.mark.parametrize(
    "many", [100, pytest.param(10_000, marks=[pytest.mark.full, pytest.mark.timeout(240)])]
)
def test_idle_streams_are_small_and_all_end_at_a_sigterm(many):
    full = many > 100
    drain = {"DUAL_MODE_DRAIN_TIMEOUT": "20"} if full else {}
    with files_for(many) as many:
        with run_service("--log-level", "warning", **ANY_NUMBER, **drain) as service:
            with all_idle(service, many, "the service") as (readers, each, wait):
                readers.tell("read")
                began = time.perf_counter()
                service.process.send_signal(signal.SIGTERM)
                ends = readers.answer()
                assert service.process.wait(30) == 0
                print(
                    f"SIGTERM: the last end after {ends['at'] - began:.2f} s, exit after "
                    f"{time.perf_counter() - began:.2f} s; {ends['whole']} whole"
                )
                assert ends["whole"] == ends["told"] == readers.open
        if full:
            assert wait < 500
        assert each < KILOBYTES * (1 if full else 1.5)  # few fill no page of memory
        if full:
            with (
                served("native") as service,
                all_idle(service, many, "FastAPI") as (_, native, _wait),
            ):
                assert each < native
