"""A thousand readers that vanish at once (RST), again and again: nothing of them stays."""

import time

import pytest

from .crowd import Client, files_for, load

BUFFER = 4096
TEMPERS = ("idle", "busy", "stalled")
FULL = [pytest.mark.full, pytest.mark.timeout(120)]


def until_full(client: Client) -> None:
    """Wait until no generator gets rid of more."""
    made = -1
    while made != (made := int(client.get("/made"))):
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("many", "times", "temper"),
    [(50, 2, "stalled"), *(pytest.param(1000, 5, temper, marks=FULL) for temper in TEMPERS)],
)
def test_readers_that_vanish_leave_nothing(many, times, temper, witness):
    waits, crowded, memory = [], [], []
    client = Client(witness.url)
    before = client.witness()
    with files_for(many) as many:
        for _ in range(times):
            with load(witness.url, f"/{temper}", many, buffer=BUFFER) as readers:
                assert readers.open == many
                assert client.gauge() == many
                if temper == "stalled":
                    until_full(client)
                if temper == "busy":
                    readers.ask("consume")
                crowded.append(client.witness()["rss"])
                gone = readers.ask("vanish")["moments"][-1]
                while client.gauge():
                    pass
                waits.append(time.perf_counter() - gone)
                after = client.witness()
                memory.append(after["rss"])
                for name in ("open", "generators", "tasks", "sockets", "files"):
                    assert after[name] <= before[name], (name, before, after)
    print(
        f"{many} {temper} vanished, {times} times: the gauge is at zero after",
        ", ".join(f"{wait:.3f}" for wait in waits),
        f"s; memory {before['rss'] / 1e6:.0f} MB before,",
        ", ".join(f"{size / 1e6:.0f}" for size in crowded),
        "with them,",
        ", ".join(f"{size / 1e6:.0f}" for size in memory),
        f"right after, and at last {client.witness()['rss'] / 1e6:.0f}",
    )
    if many >= 1000:
        assert max(waits) < 1
    assert crowded[-1] < 1.1 * crowded[0]
