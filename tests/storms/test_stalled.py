"""A thousand readers that never read, before generators that never pause: the memory is bounded,
others are served, and at the send timeout they are let go."""

import contextlib
from pathlib import Path

import pytest

from dual_mode_streaming.web._stream_sink import FLUSH_BYTES

from .apps import LARGE
from .crowd import KILOBYTES, Client, Waits, files_for, load, served
from .test_vanish import BUFFER, until_full

HIGH_WATER = 64 * 1024
"""What uvicorn lets a connection hold before a send waits, in bytes."""

PIECES = {"busy": FLUSH_BYTES, "stalled": len(LARGE)}
"""What leaves in one send, in bytes."""

FULL = [pytest.mark.full, pytest.mark.timeout(120)]

KERNEL = 1_000_000
"""Far above what the kernel holds for a connection of ours, and far below what it would hold."""


def bound(temper: str) -> float:
    """The most that a stalled stream may hold, in bytes: what the connection takes before a send
    waits, and the send that fills it; the next one, which waits; what any stream is. Half
    as much is for the allocator."""
    return 1.5 * (HIGH_WATER + 2 * PIECES[temper] + 1000 * KILOBYTES)


def in_kernel() -> int:
    """The memory of all sockets of TCP on this machine, in bytes."""
    line = next(
        line
        for line in Path("/proc/net/sockstat").read_text().splitlines()
        if line.startswith("TCP:")
    )
    return int(line.split()[-1]) * 4096


@pytest.mark.parametrize(
    ("many", "timeout", "temper"),
    [(50, 1, "stalled"), *(pytest.param(1000, 15, temper, marks=FULL) for temper in PIECES)],
)
def test_readers_that_never_read_cost_little_and_are_let_go(many, timeout, temper):
    with contextlib.ExitStack() as stack:
        stack.enter_context(files_for(many))
        service = stack.enter_context(served("witness", DUAL_MODE_SEND_TIMEOUT=str(timeout)))
        client = Client(service.url)
        with load(service.url, "/idle", 20) as readers:
            readers.ask("vanish")
        before, kernel = client.witness(), in_kernel()
        waits = stack.enter_context(Waits(service.url))
        readers = stack.enter_context(load(service.url, f"/{temper}", many, buffer=BUFFER))
        readers.tell("watch")
        until_full(client)
        each = (service.memory() - before["rss"]) / many
        in_kernel_each = (in_kernel() - kernel) / many
        ends = readers.answer()
        while client.gauge():
            pass
        after = client.witness()
    print(
        f"{many} readers of {temper} never read: {each / 1000:.0f} kB each (and "
        f"{in_kernel_each / 1000:.0f} kB in the kernel); reset within "
        f"{ends['last'] - ends['first']:.2f} s; {waits}"
    )
    assert each < bound(temper)
    if many >= 1000:  # of few, p99 is the one that came when all were opened
        assert waits.share(0.99) < 500
        assert in_kernel_each < KERNEL
    assert ends["reset"] == many
    for name in ("open", "generators", "sockets", "files"):
        assert after[name] <= before[name] + 1, (name, before, after)  # one for who waits
