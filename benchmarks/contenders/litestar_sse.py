"""Litestar's ServerSentEvent."""

from collections.abc import AsyncIterator

from litestar import Litestar, get
from litestar.response import ServerSentEvent

from .items import items


async def events(n: int) -> AsyncIterator[str]:
    async for item in items(n):
        yield item.model_dump_json()


@get("/stream")
async def stream(n: int = 20) -> ServerSentEvent:
    return ServerSentEvent(events(n))


app = Litestar([stream], openapi_config=None)
