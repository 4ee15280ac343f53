"""Each timer of an answer runs for its own duration, whatever another one was set to."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI

from dual_mode_streaming import dual_mode, install
from dual_mode_streaming.errors import ItemTooLarge

from .asgi import Client, get, on_virtual_clock


def app_of(*pauses: float, **options) -> FastAPI:
    app = FastAPI()
    if options.get("record"):
        install(app)

    @app.get("/")
    @dual_mode(**options)
    async def source() -> AsyncIterator[int]:
        for number, pause in enumerate(pauses):
            await asyncio.sleep(pause)
            yield number

    return app


class Timed(Client):
    """Notes when each message was sent."""

    async def send(self, message) -> None:
        now = asyncio.get_running_loop().time()
        self.times = [*getattr(self, "times", []), round(now, 1)]
        await super().send(message)


@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize(
    ("grace", "heartbeat", "pauses", "expected"),
    [
        (8, 2, (0.5, 6.5), [0.5, 2.5, 4.5, 6.5, 7]),
        (1, 2, (0.5, 6.5), [0.5, 2.5, 4.5, 6.5, 7]),
        (1, 2, (3.5, 3), [1, 3, 3.5, 5.5, 6.5]),
        (0, 2, (3, 1), [0, 2, 3, 4]),
        (2, 8, (0.5, 9), [0.5, 8.5, 9.5]),
        (8, None, (0.5, 9), [0.5, 9.5]),
        (3600, 2, (0, 5), [0, 2, 4, 5]),
    ],
)
@on_virtual_clock
async def test_heartbeats_begin_with_the_commit(grace, heartbeat, pauses, expected, record):
    app = app_of(*pauses, grace=grace, heartbeat=heartbeat, record=record)
    client = Timed(app)
    client.timeout = 10_000
    begin = asyncio.get_running_loop().time()
    await client.run()
    assert sorted({round(time - begin, 1) for time in client.times}) == expected


@pytest.mark.parametrize(
    ("options", "ends"),
    [
        ({"idle_timeout": 3, "grace": 8}, 3.5),
        ({"idle_timeout": 3, "heartbeat": 1}, 3.5),
        ({"idle_timeout": 3, "send_timeout": 1}, 3.5),
        ({"send_timeout": 1, "grace": 8}, 100.5),
    ],
)
@on_virtual_clock
async def test_the_others_do_not_change_when_an_answer_ends(options, ends):
    client = Timed(app_of(0.5, 100, **options))
    client.timeout = 10_000
    begin = asyncio.get_running_loop().time()
    await client.run()
    assert round(client.times[-1] - begin, 1) == ends


async def test_an_item_too_large_that_the_source_itself_raises_is_a_refusal():
    """It stands for no item of this answer: nothing was committed."""
    app = FastAPI()

    @app.exception_handler(ItemTooLarge)
    async def refused(request, error):
        from starlette.responses import Response

        return Response(status_code=413)

    @app.get("/")
    @dual_mode
    async def source() -> AsyncIterator[int]:
        await asyncio.sleep(0)
        raise ItemTooLarge(10, 5)
        yield 1

    assert (await get(app)).status == 413
