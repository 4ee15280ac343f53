"""Raw ASGI that encodes and sends event by event."""

from .items import Item, items
from .raw import END, HEAD, asked, chunk

to_json = Item.__pydantic_serializer__.to_json


async def app(scope, receive, send):
    await send(HEAD)
    async for item in items(asked(scope)):
        await send(chunk(b"data: %b\n\n" % to_json(item)))
    await send(END)
