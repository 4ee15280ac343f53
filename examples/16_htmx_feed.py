"""How does a page of htmx show a stream, without a line of JavaScript?

Seen: the items are fragments of HTML, which htmx appends as they come. Its connection was cut after
two. It reconnects to the same URL with the last id as Last-Event-ID. The feed is recorded, so the
same feed went on after that id. `hx-sse:close` ends it at the `done` event.

Try next: see it in a browser, with the htmx of your own: `npm install htmx.org@4.0.1`, then
`.venv/bin/uvicorn --app-dir examples 16_htmx_feed:app`. Reload the page: that begins a new feed.
"""

import asyncio
import html
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from dual_mode_streaming import ServerSentEvent, dual_mode, install
from dual_mode_streaming.testing import StreamingTransport, read_events

PAGE = """<!doctype html><title>News</title>
<script src="/htmx/htmx.min.js"></script><script src="/htmx/ext/hx-sse.min.js"></script>
<ol hx-sse:connect="/news" hx-sse:close="done" hx-swap="beforeend"></ol>"""
app = FastAPI()
install(app)
app.mount("/htmx", StaticFiles(directory="node_modules/htmx.org/dist", check_dir=False))
app.get("/")(lambda: HTMLResponse(PAGE))


@app.get("/news")
@dual_mode(record=True)
async def news() -> AsyncIterator[ServerSentEvent]:
    print("    server: a new feed")
    for line in ("A ship arrived.", "Fish & bread are cheap.", "Rain is near.", "The ship left."):
        yield ServerSentEvent(data=f"<li>{html.escape(line)}</li>")


async def read(client: httpx.AsyncClient, last: str, most: int) -> str:
    headers = {"Accept": "text/html, text/event-stream", "Last-Event-ID": last}
    async with client.stream("GET", "/news", headers=headers) as answer:
        async for event in read_events(answer):
            print(f"    page: {event.event or 'appends'} {event.data}")
            if (most := most - 1) == 0:
                break  # leaving the block closes the connection
    return event.id or ""


async def main() -> None:
    transport = StreamingTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        print("The page is loaded, and its connection is cut.")
        last = await read(client, "", most=2)
        print(f"htmx reconnects after event {last.rpartition('.')[2]}.")
        await read(client, last, most=9)


if __name__ == "__main__":
    asyncio.run(main())
