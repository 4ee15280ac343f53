"""Raw ASGI, the bytes ready: what one send an event costs, and nothing else."""

from .items import READY, items
from .raw import END, HEAD, asked, chunk

FRAME = b"data: %b\n\n" % READY[0].model_dump_json().encode()
DUE = b'data: {"index":0,"due":%f,"message":"an item that is made when it is due"}\n\n'


async def app(scope, receive, send):
    n = asked(scope)
    await send(HEAD)
    async for item in items(n):
        await send(chunk(DUE % item.due if n < 0 else FRAME))
    await send(END)
