"""What `install` adds leaves the app's own exception handlers and sources as they are."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from dual_mode_streaming import DualModeResponse, Problem, ResponseMode, dual_mode, install
from dual_mode_streaming.rendering import ItemCodec, Representation
from dual_mode_streaming.stores import StoreError

from .asgi import get


@pytest.mark.parametrize("error", [Problem(409, "taken"), StoreError("away")], ids=type)
async def test_a_handler_of_the_apps_own_is_kept(error):
    app = FastAPI()

    @app.exception_handler(type(error))
    async def own(request, raised):
        return PlainTextResponse("mine", 418)

    install(app)

    @app.get("/")
    @dual_mode
    async def source() -> AsyncIterator[int]:
        raise error
        yield 1

    answer = await get(app)
    assert (answer.status, answer.body) == (418, b"mine")


async def test_a_fold_that_leaves_its_iterator_running_leaves_no_source_open():
    """The iterator cannot be closed then, and the source is closed all the same, by its owner."""
    closed_in, left = [], []

    class Source:
        def __aiter__(self):
            return self

        async def __anext__(self):
            await asyncio.Event().wait()

        async def aclose(self):
            closed_in.append(asyncio.current_task())

    async def fold(items):
        left.append(asyncio.create_task(anext(items)))
        await asyncio.sleep(0)

    app = FastAPI()

    @app.get("/")
    async def endpoint():
        response = DualModeResponse(
            Source(), mode=ResponseMode.BATCH, representation=Representation(ItemCodec(), fold)
        )
        requests.append(asyncio.current_task())
        return response

    requests = []
    with pytest.raises(RuntimeError, match="already running"):
        await get(app)
    left[0].cancel()
    assert closed_in[0] is not requests[0]
