"""A generator that reads the body of its request, or does not, and the watch for the disconnect."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, Request

from dual_mode_streaming import DualModeResponse, dual_mode

from .asgi import Client, get, on_virtual_clock
from .witness import MODES, Witness


@pytest.mark.parametrize("accept", MODES)
async def test_a_generator_that_reads_the_body_gets_every_byte(accept):
    async def echo(request: Request) -> AsyncIterator[str]:
        await asyncio.sleep(0)  # the watch for the disconnect begins here
        async for chunk in request.stream():
            await asyncio.sleep(0)
            if chunk:
                yield chunk.decode()

    app = FastAPI()
    app.post("/")(dual_mode(echo))
    chunks = [str(n).encode() for n in range(20)]
    answer = await get(app, accept=accept, method="POST", body=chunks)
    assert all(f'"{n}"'.encode() in answer.body for n in range(20))


async def test_an_unread_body_does_not_hide_the_disconnect():
    witness = Witness()

    async def source(request: Request) -> AsyncIterator[int]:
        async with witness.watching():
            await asyncio.Event().wait()
            yield 1

    app = FastAPI()
    app.post("/")(dual_mode(source))
    client = Client(app, method="POST", body=[b"x" * 1000] * 20)
    async with client.running():
        await witness.started.wait()
        client.leave()
    assert witness.log == ["cancelled", "closed"]


@on_virtual_clock
async def test_a_large_body_that_is_never_read_does_not_hide_the_disconnect():
    witness = Witness()

    async def source(request: Request) -> AsyncIterator[int]:
        async with witness.watching():
            await asyncio.Event().wait()
            yield 1

    app = FastAPI()
    app.post("/")(dual_mode(source))
    client = Client(app, method="POST", body=[b"x" * 100_000] * 5)
    client.timeout = 100
    async with client.running():
        await witness.started.wait()
        await asyncio.sleep(1)
        assert client.chunks, "so much is not held of what nobody reads"
        client.leave()
    assert witness.log == ["cancelled", "closed"]


@on_virtual_clock
async def test_a_large_body_is_kept_for_a_generator_that_reads_it_late():
    async def late(request: Request) -> AsyncIterator[int]:
        await asyncio.sleep(10)
        async for chunk in request.stream():
            await asyncio.sleep(60)  # and slowly
            yield len(chunk)

    app = FastAPI()
    app.post("/")(dual_mode(late))
    answer = await get(app, method="POST", body=[b"x" * 100_000] * 9, timeout=1000)
    assert [event.data for event in answer.events][:-1] == ["100000"] * 9 + ["0"]


@on_virtual_clock
async def test_a_large_body_that_is_read_too_late_is_missed_aloud():
    async def too_late(request: Request) -> AsyncIterator[int]:
        yield 0
        await asyncio.sleep(60)
        try:
            yield len(await request.body())
        except RuntimeError as error:
            told.append(str(error))
            raise

    told: list[str] = []
    app = FastAPI()
    app.post("/")(dual_mode(too_late))
    answer = await get(app, method="POST", body=[b"x" * 100_000] * 5, timeout=1000)
    assert [event.event for event in answer.events] == [None, "error"]
    assert told == ["the request's body was not read within 30 s, and is gone"]


async def test_on_plain_starlette_the_request_is_handed_over():
    async def app(scope, receive, send):
        request = Request(scope, receive)

        async def echo():
            await asyncio.sleep(0)
            yield (await request.body()).decode()

        await DualModeResponse(echo(), request=request)(scope, receive, send)

    answer = await get(app, method="POST", body=[b"a", b"b", b"c"])
    assert json.loads(answer.events[0].data) == "abc"
