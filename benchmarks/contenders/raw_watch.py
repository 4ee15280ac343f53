"""Raw ASGI that sends ready bytes to those who watch: what a delivery costs at the least."""

import asyncio
import time
from urllib.parse import parse_qs

from .raw import HEAD, chunk

FRAME = (
    b"id: 0123456789abcdef0123456789abcdef.12345678901234.%d\n"
    b'data: {"due":%f,"index":%d,"text":"what is published to those who watch"}\n\n'
)
WAITING: dict[str, list[asyncio.Future[bytes]]] = {}


async def tell(names: list[str], rate: float, seconds: float) -> None:
    """Send to one name after the other, so many a second."""
    start = time.monotonic()
    for number in range(int(rate * seconds)):
        due = start + number / rate
        await asyncio.sleep(max(0, due - time.monotonic()))  # the readers wait again then
        frame = FRAME % (number, due, number)
        for future in WAITING.pop(names[number % len(names)], ()):
            if not future.done():
                future.set_result(frame)


async def app(scope, receive, send):
    _, kind, name = scope["path"].split("/")
    await send(HEAD)
    if kind == "tell":
        query = parse_qs(scope["query_string"].decode())
        rate, seconds = (float(query[key][0]) for key in ("rate", "seconds"))
        names = [name] if name != "all" else sorted(WAITING)
        await tell(names, rate, seconds)
        await send({"type": "http.response.body"})
        return
    await send(chunk(FRAME % (0, 0, 0)))
    while True:
        future = asyncio.get_running_loop().create_future()
        WAITING.setdefault(name, []).append(future)
        await send(chunk(await future))
