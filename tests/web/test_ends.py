"""An end of ours that meets one of the answer's own: what was made still arrives, once."""

import asyncio
import json

import pytest
from fastapi import FastAPI

from dual_mode_streaming import BrokenTransfer, drain, dual_mode, install

from .asgi import Client, on_virtual_clock


def app_of(**options) -> FastAPI:
    app = FastAPI()
    install(app)

    @app.get("/")
    @dual_mode(**options)
    async def source():
        yield 1
        app.state.client.pause()

    return app


async def blocked(app: FastAPI, *, at_the_end: bool = True) -> Client:
    """A client that takes nothing: from the end of the source on, or at all."""
    app.state.client = client = Client(app)
    if not at_the_end:
        client.pause()
    client.task = asyncio.create_task(app(client.scope, client.receive, client.send))
    await client.blocked.wait()
    return client


async def test_a_drain_lets_the_end_of_an_answer_go_out():
    """The source is done; only the reader is not."""
    app = app_of()
    client = await blocked(app)
    draining = asyncio.create_task(drain(app))
    for _ in range(5):
        await asyncio.sleep(0)
    client.resume()
    await client.task
    await draining
    assert client.complete
    assert [(event.event, json.loads(event.data)) for event in client.events] == [
        (None, 1),
        ("done", {"items": 1}),
    ]


@on_virtual_clock
async def test_a_drain_does_not_wait_for_a_reader_that_takes_nothing():
    app = app_of(cleanup_timeout=0.05)
    client = await blocked(app)
    await drain(app)
    with pytest.raises(BrokenTransfer):
        await client.task


@pytest.mark.parametrize("steps", range(6))
async def test_what_has_just_been_sent_is_not_sent_again(steps):
    """The drain comes when the connection takes bytes again, or some steps of the loop later."""
    app = FastAPI()
    install(app)

    @app.get("/")
    @dual_mode
    async def source():
        yield 1
        await asyncio.Event().wait()

    client = await blocked(app, at_the_end=False)
    client.resume()
    for _ in range(steps):
        await asyncio.sleep(0)
    await drain(app)
    await client.task
    kinds = [message["type"] for message in client.messages]
    assert kinds.count("http.response.start") == 1
    assert client.body.count(b"data: 1\n") == 1
    assert client.events[-1].event == "error"
