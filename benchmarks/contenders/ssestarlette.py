"""sse-starlette, in Starlette."""

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Route

from .items import items


async def events(n):
    async for item in items(n):
        yield {"data": item.model_dump_json()}


async def stream(request):
    return EventSourceResponse(events(int(request.query_params["n"])))


app = Starlette(routes=[Route("/stream", stream)])
