"""Starlette's StreamingResponse, the events by f-strings."""

from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from .items import items


async def events(n, interval):
    async for item in items(n, interval):
        yield f"data: {item.model_dump_json()}\n\n"


async def stream(request):
    query = request.query_params
    source = events(int(query["n"]), float(query.get("interval", 0)))
    return StreamingResponse(source, media_type="text/event-stream")


app = Starlette(routes=[Route("/stream", stream)])
