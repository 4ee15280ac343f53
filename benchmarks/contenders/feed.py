"""One feed for any number of readers, as `/events` is: an event is encoded once, for all."""

import asyncio
import time
from collections.abc import AsyncIterator

from fastapi import FastAPI

from dual_mode_streaming import dual_mode, install
from dual_mode_streaming.server.routes._feed import Sample
from dual_mode_streaming.streams import Broadcast, Overflow

CAST: list[Broadcast[Sample]] = []


async def samples(item_type: type[Sample], burst: int) -> AsyncIterator[Sample]:
    """So many at a time; the readers, who must miss none, set the pace."""
    while True:
        for number in range(burst):
            yield item_type(
                time=time.time(),
                cpu_percent=number / 10,
                memory_percent=43.7,
                memory_used_bytes=3_671_642_112,
                load_average=[0.64, 0.71, 0.82],
                network_sent_bytes_per_second=18_234.513,
                network_received_bytes_per_second=9_120.237,
            )
        await asyncio.sleep(0)


def app_of(item_type: type[Sample]) -> FastAPI:
    app = FastAPI()
    install(app)

    async def feed(burst: int) -> AsyncIterator[item_type]:
        if not CAST:
            source = samples(item_type, burst)
            CAST.append(Broadcast(source, maxsize=2 * burst, overflow=Overflow.BLOCK))
        async with CAST[0].subscribe() as mine:
            async for item in mine:
                yield item

    app.get("/feed")(dual_mode(feed=True)(feed))
    return app


app = app_of(Sample)
