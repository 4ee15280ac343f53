"""sse-starlette, in Starlette."""

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Route

from .items import items


async def events(n, interval):
    async for item in items(n, interval):
        yield {"data": item.model_dump_json()}


async def stream(request):
    query = request.query_params
    return EventSourceResponse(events(int(query["n"]), float(query.get("interval", 0))))


app = Starlette(routes=[Route("/stream", stream)])
