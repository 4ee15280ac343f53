"""Starlette's StreamingResponse, the events by f-strings."""

from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from .items import items


async def events(n):
    async for item in items(n):
        yield f"data: {item.model_dump_json()}\n\n"


async def stream(request):
    source = events(int(request.query_params["n"]))
    return StreamingResponse(source, media_type="text/event-stream")


app = Starlette(routes=[Route("/stream", stream)])
