"""The store in memory."""

import time

import pytest

from dual_mode_streaming.stores import Limits, MemoryStore, NewStream, Store
from dual_mode_streaming.testing import StoreConformance


class TestMemoryStore(StoreConformance):
    async def open(self, limits: Limits) -> Store:
        return MemoryStore(limits)


async def seconds(times, call, *args):
    """Return the shortest of a few times, because other programs run at the same time."""
    tries = []
    for _ in range(5):
        begin = time.perf_counter()
        for _ in range(times):
            await call(*args)
        tries.append(time.perf_counter() - begin)
    return min(tries)


@pytest.mark.full  # it measures
async def test_a_long_stream_is_read_at_its_end_as_fast_as_a_short_one():
    store = MemoryStore()
    lengths = (10, 300_000)
    streams = [
        await store.create(NewStream(stream=str(n % 7) * 32, operation="o")) for n in lengths
    ]
    for stream, length in zip(streams, lengths, strict=True):
        await store.append(stream, 1, 1, [b"x"] * length)
    short, long = [
        await seconds(1000, store.read, stream, length - 1)
        for stream, length in zip(streams, lengths, strict=True)
    ]
    assert long < 20 * short


async def test_what_has_ended_does_not_slow_down_what_runs():
    times = []
    for ended in (10, 20_000):
        store = MemoryStore()
        for n in range(ended):
            stream = await store.create(NewStream(stream=f"{n:032x}", operation="o"))
            await store.append(stream, 1, 1, [b"x"], end="done")
        times.append(await seconds(1000, store.info, stream))
    assert times[1] < 20 * times[0]
