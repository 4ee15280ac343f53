"""A recorded generator that fails: its own reader learns it, and does not start it again."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from fastapi import Depends, FastAPI, HTTPException

from dual_mode_streaming import Problem, dual_mode, install
from dual_mode_streaming.testing import run_with_virtual_clock
from tests.web.asgi import Client, get


class Odd(BaseException):
    """What no `except Exception` catches."""


def cancelled() -> BaseException:
    return asyncio.CancelledError()


FAILURES = {
    "HTTPException": (lambda: HTTPException(502, "no"), 502),
    "its detail is JSON": (lambda: HTTPException(422, [{"msg": "no"}]), 422),
    "Problem": (lambda: Problem(429, "later", retry_after=7, code="slow"), 429),
    "Exception": (lambda: KeyError("secret"), 500),
    "TimeoutError": (lambda: TimeoutError(), 500),
    "StopAsyncIteration": (lambda: StopAsyncIteration(), 500),
    "StopIteration": (lambda: StopIteration(), 500),
    "CancelledError": (cancelled, 500),
    "GeneratorExit": (lambda: GeneratorExit(), 500),
    "BaseException": (lambda: Odd(), 500),
}


class App:
    """An endpoint whose generator fails after `delay` seconds, and counts its runs."""

    def __init__(self, failure, *, delay=0.0, record=True, items=0, **options) -> None:
        self.runs = 0
        self.app = app = FastAPI()
        install(app)

        @app.get("/")
        @dual_mode(record=record, **options)
        async def source() -> AsyncIterator[int]:
            self.runs += 1
            try:
                for n in range(items):
                    yield n
                await asyncio.sleep(delay)
            finally:
                raise failure()


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("grace", [1, 0])
@pytest.mark.parametrize("items", [0, 2])
def test_a_failure_after_the_commit_has_an_id_that_ends_an_event_source(name, grace, items):
    failure, status = FAILURES[name]
    app = App(failure, delay=1.5, items=items, grace=grace)

    async def scenario():
        answer = await get(app.app)
        assert answer.status == 200
        last = answer.events[-1]
        assert (last.event, json.loads(last.data)["status"]) == ("error", status)
        again = await get(app.app, headers=[("last-event-id", last.id)])
        assert again.status == 204
        joined = await get(app.app, headers=[("last-event-id", last.id[:-1] + "0")])
        assert [event.event for event in joined.events][-1] == "error"

    run_with_virtual_clock(scenario())
    assert app.runs == 1


@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize("accept", ["text/event-stream", "application/json", "application/jsonl"])
@pytest.mark.parametrize("name", ["HTTPException", "its detail is JSON", "Problem"])
async def test_a_failure_before_the_first_item_has_its_status(name, accept, record):
    failure, status = FAILURES[name]
    answer = await get(App(failure, record=record).app, accept=accept)
    assert answer.status == status
    assert json.loads(answer.body)["detail"] == failure().detail
    assert answer.headers.get("retry-after") == ("7" if name == "Problem" else None)


def test_a_head_that_is_on_its_way_is_a_commit():
    """The generator fails while the server still waits to write the head."""
    app = App(FAILURES["HTTPException"][0], delay=1.5, grace=1)

    async def scenario():
        client = Client(app.app)
        client.pause()
        async with client.running():
            await client.blocked.wait()
            await asyncio.sleep(5)
            client.resume()
        assert client.status == 200
        assert client.events[-1].event == "error"
        assert client.events[-1].id

    run_with_virtual_clock(scenario())


@pytest.mark.parametrize("record", [False, True])
async def test_dependencies_see_no_exception_when_a_request_is_refused(record):
    """As with a response that the endpoint has returned, recorded or not."""
    seen: list[BaseException] = []

    async def session():
        try:
            yield
        except BaseException as error:
            seen.append(error)
            raise

    app = FastAPI()
    install(app)

    @app.get("/", dependencies=[Depends(session)])
    @dual_mode(record=record)
    async def source() -> AsyncIterator[int]:
        yield 1

    assert (await get(app, accept="image/png")).status == 406
    assert seen == []
