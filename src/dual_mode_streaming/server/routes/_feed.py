"""The load of this host as a live feed: sampled once a second, for all readers together."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

import psutil
from pydantic import BaseModel, Field

from dual_mode_streaming.streams import Broadcast

SECONDS = 1.0


class Sample(BaseModel, frozen=True):
    """The load of this host at one moment.

    The percentages are of all processors and of all memory; the load averages are those of the last
    1, 5 and 15 minutes.
    """

    time: float
    cpu_percent: float
    memory_percent: float
    memory_used_bytes: int
    load_average: Annotated[list[float], Field(min_length=3, max_length=3)]
    network_sent_bytes_per_second: float
    network_received_bytes_per_second: float


def host_feed() -> Broadcast[Sample]:
    """Return a broadcast that samples while it has subscribers.

    A subscriber receives the newest sample at once, then each new one; a slow one skips old ones.
    """
    return Broadcast(_samples, maxsize=1, history=1, stop_after_last=True)


async def _samples() -> AsyncIterator[Sample]:
    network = psutil.net_io_counters()
    then = time.monotonic()
    psutil.cpu_percent()  # the first call has nothing to compare with: it returns 0
    await asyncio.sleep(0.1)
    while True:
        now, counters = time.monotonic(), psutil.net_io_counters()
        memory = psutil.virtual_memory()
        yield Sample(
            time=time.time(),
            cpu_percent=psutil.cpu_percent(),
            memory_percent=memory.percent,
            memory_used_bytes=memory.used,
            load_average=list(psutil.getloadavg()),
            network_sent_bytes_per_second=(counters.bytes_sent - network.bytes_sent) / (now - then),
            network_received_bytes_per_second=(counters.bytes_recv - network.bytes_recv)
            / (now - then),
        )
        network, then = counters, now
        await asyncio.sleep(SECONDS)
