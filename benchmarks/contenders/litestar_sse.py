"""Litestar's ServerSentEvent."""

from collections.abc import AsyncIterator

from litestar import Litestar, get
from litestar.response import ServerSentEvent

from .items import items


async def events(n: int, interval: float) -> AsyncIterator[str]:
    async for item in items(n, interval):
        yield item.model_dump_json()


@get("/stream")
async def stream(n: int = 20, interval: float = 0) -> ServerSentEvent:
    return ServerSentEvent(events(n, interval))


app = Litestar([stream], openapi_config=None)
