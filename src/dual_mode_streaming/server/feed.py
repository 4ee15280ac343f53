"""This host's load as a live feed: sampled once a second for all readers, while there are any."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

import psutil
from pydantic import BaseModel, Field

__all__ = ["HostFeed", "Sample"]

SECONDS = 1.0


class Sample(BaseModel):
    """One look at this host. Percentages are of all its processors and memory, rates a second, the
    load average that of the last 1, 5 and 15 minutes."""

    time: float
    cpu_percent: float
    memory_percent: float
    memory_used_bytes: int
    load_average: Annotated[list[float], Field(min_length=3, max_length=3)]
    network_sent_bytes_per_second: float
    network_received_bytes_per_second: float


class HostFeed:
    """One sampler for any number of readers; it runs from the first reader to the last.

    A reader gets the newest sample at once and then each new one; one that is slow skips to the
    newest, since an old figure is of no use to it.
    """

    def __init__(self) -> None:
        self._readers = 0
        self._sampler: asyncio.Task[None] | None = None
        self._newest: Sample | None = None
        self._number = 0
        self._news = asyncio.Condition()

    async def read(self) -> AsyncIterator[Sample]:
        """The samples from now on; endless. Close it to leave the feed."""
        self._readers += 1
        if self._sampler is None:
            self._newest = None
            self._sampler = asyncio.create_task(self._sample())
        try:
            seen = 0
            while True:
                async with self._news:
                    while self._newest is None or self._number == seen:
                        await self._news.wait()
                    seen, sample = self._number, self._newest
                yield sample
        finally:
            self._readers -= 1
            if self._readers == 0 and self._sampler is not None:
                self._sampler.cancel()
                self._sampler = None

    async def _sample(self) -> None:
        network = psutil.net_io_counters()
        then = time.monotonic()
        psutil.cpu_percent()  # the first call has nothing to compare with, and says 0
        await asyncio.sleep(0.1)
        while True:
            now, counters = time.monotonic(), psutil.net_io_counters()
            memory = psutil.virtual_memory()
            self._newest = Sample(
                time=time.time(),
                cpu_percent=psutil.cpu_percent(),
                memory_percent=memory.percent,
                memory_used_bytes=memory.used,
                load_average=list(psutil.getloadavg()),
                network_sent_bytes_per_second=(counters.bytes_sent - network.bytes_sent)
                / (now - then),
                network_received_bytes_per_second=(counters.bytes_recv - network.bytes_recv)
                / (now - then),
            )
            self._number += 1
            network, then = counters, now
            async with self._news:
                self._news.notify_all()
            await asyncio.sleep(SECONDS)
