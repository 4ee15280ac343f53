"""Channels on a Redis: one that all watch, and any number with a reader each."""

import os
from collections.abc import AsyncIterator

from fastapi import FastAPI
from pydantic import BaseModel

from dual_mode_streaming import Channel, dual_mode, install
from dual_mode_streaming.stores import Limits, RedisStore
from dual_mode_streaming.web import _channel_source


class Message(BaseModel):
    due: float
    index: int
    text: str = "what is published to those who watch"


RENDERED = [0]
_event = _channel_source._event


def _counted(*parts: object) -> bytes:
    RENDERED[0] += 1
    return _event(*parts)  # type: ignore[arg-type]


_channel_source._event = _counted
messages = Channel("bench/{name}", Message)
app = FastAPI()
install(app, store=RedisStore(os.environ.get("BENCH_REDIS", "redis://"), Limits(streams=10**6)))


@app.get("/watch/{name}")
@dual_mode(heartbeat=None)
def watch(name: str) -> AsyncIterator[Message]:
    return messages.subscribe(name=name)


@app.get("/rendered")
def rendered() -> int:
    return RENDERED[0]
