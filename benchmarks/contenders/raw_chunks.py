"""Raw ASGI that encodes and sends 256 events at a time: the limit."""

from .items import Item, items
from .raw import END, HEAD, asked, chunk

to_json = Item.__pydantic_serializer__.to_json


async def app(scope, receive, send):
    await send(HEAD)
    frames = []
    async for item in items(asked(scope)):
        frames.append(b"data: %b\n\n" % to_json(item))
        if len(frames) == 256:
            await send(chunk(b"".join(frames)))
            frames.clear()
    await send(chunk(b"".join(frames)))
    await send(END)
