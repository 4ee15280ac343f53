"""FastAPI's own: its Server-Sent Events, and its JSON of the same items by `response_model`."""

from fastapi import FastAPI
from fastapi.sse import EventSourceResponse

from .items import Item, items

app = FastAPI()
app.get("/stream", response_class=EventSourceResponse)(items)


@app.get("/batch", response_model=list[Item])
async def batch(n: int = 20):
    return [item async for item in items(n)]
