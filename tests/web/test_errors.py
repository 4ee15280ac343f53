"""Before the commit a failure has its true status; after it, the stream itself says so."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Header, HTTPException, Response
from fastapi.responses import JSONResponse

from dual_mode_streaming import BrokenTransfer, dual_mode, install
from dual_mode_streaming.errors import SourceCancelled

from .asgi import Client, get, on_virtual_clock

MODES = ["application/json", "text/event-stream", "application/jsonl"]


class Teapot(Exception):
    pass


def app_with_handler() -> FastAPI:
    app = FastAPI()

    @app.exception_handler(Teapot)
    async def teapot(request, error):
        return JSONResponse({"tea": str(error)}, status_code=418)

    return app


@pytest.mark.parametrize("accept", MODES)
@pytest.mark.parametrize("installed", [True, False])
async def test_an_http_exception_before_the_first_item_has_its_status(accept, installed):
    app = FastAPI()
    if installed:
        install(app)

    @app.get("/")
    @dual_mode
    async def missing() -> AsyncIterator[int]:
        raise HTTPException(404, "no such report", headers={"X-Why": "gone", "Vary": "Cookie"})
        yield 1

    answer = await get(app, accept=accept)
    assert answer.status == 404
    assert json.loads(answer.body) == {"detail": "no such report"}
    assert answer.headers["x-why"] == "gone"
    assert answer.headers["vary"] == "Cookie, Accept"


@pytest.mark.parametrize("accept", MODES)
async def test_a_registered_handler_answers_with_the_dependencies_alive(accept):
    app = app_with_handler()
    install(app)
    seen: list[Any] = []

    async def transaction():
        try:
            yield "transaction"
        except Teapot as error:
            seen.append(error)
            raise
        finally:
            seen.append("exit")

    @app.get("/")
    @dual_mode
    async def brew(t: str = Depends(transaction)) -> AsyncIterator[int]:
        assert not seen
        await asyncio.sleep(0)
        raise Teapot("short and stout")
        yield 1

    answer = await get(app, accept=accept)
    assert answer.status == 418
    assert json.loads(answer.body) == {"tea": "short and stout"}
    assert answer.headers["vary"] == "Accept"  # added by install, outside the handler
    assert isinstance(seen[0], Teapot)
    assert seen[1:] == ["exit"]


@pytest.mark.parametrize("accept", MODES)
async def test_validation_comes_before_everything(accept):
    app = FastAPI()
    install(app)
    ran = []

    @app.get("/")
    @dual_mode
    async def numbered(n: int) -> AsyncIterator[int]:
        ran.append(n)
        yield n

    assert (await get(app, query="n=x", accept=accept)).status == 422
    assert not ran


@pytest.mark.parametrize("accept", MODES)
async def test_auth_in_a_dependency_is_a_401(accept):
    app = FastAPI()

    async def user(authorization: str | None = Header(None)) -> str:
        if authorization != "Bearer right":
            raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
        return "ann"

    @app.get("/")
    @dual_mode
    async def mine(user: str = Depends(user)) -> AsyncIterator[str]:
        yield user

    answer = await get(app, accept=accept)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    answer = await get(app, accept=accept, headers=[("authorization", "Bearer right")])
    assert answer.status == 200
    assert b'"ann"' in answer.body


@pytest.mark.parametrize("accept", MODES)
async def test_an_unexpected_error_before_the_first_item_is_a_500(accept):
    app = FastAPI()
    install(app)

    @app.get("/")
    @dual_mode
    async def broken() -> AsyncIterator[int]:
        raise KeyError("secret")
        yield 1

    client = Client(app, accept=accept)
    with pytest.raises(KeyError):
        await client.run()
    assert client.status == 500
    assert client.headers["vary"] == "Accept"
    assert b"secret" not in client.body


def failing(error: BaseException) -> FastAPI:
    app = app_with_handler()
    install(app)

    @app.get("/")
    @dual_mode
    async def broken() -> AsyncIterator[int]:
        yield 1
        yield 2
        raise error

    return app


async def test_an_error_in_the_stream_is_an_event_with_a_problem(caplog):
    answer = await get(failing(KeyError("secret")))
    assert [event.event for event in answer.events] == [None, None, "error"]
    problem = json.loads(answer.events[-1].data)
    assert (problem["status"], problem["type"]) == (500, "about:blank")
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body
    assert answer.complete
    assert "KeyError: 'secret'" in caplog.text


async def test_an_http_exception_in_the_stream_says_its_status_and_detail():
    answer = await get(failing(HTTPException(429, "slow down")))
    problem = json.loads(answer.events[-1].data)
    assert (problem["status"], problem["detail"]) == (429, "slow down")


async def test_the_error_event_may_have_another_name():
    app = FastAPI()

    @app.get("/")
    @dual_mode(error_event="failure")
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ValueError

    assert (await get(app)).events[-1].event == "failure"


async def test_an_error_in_lines_breaks_the_transfer():
    client = Client(failing(KeyError("secret")), accept="application/jsonl")
    with pytest.raises(BrokenTransfer) as caught:
        await client.run()
    assert isinstance(caught.value.__cause__, KeyError)
    assert client.body == b"1\n2\n"
    assert not client.complete


@pytest.mark.parametrize("accept", MODES)
async def test_a_batch_fails_as_a_whole(accept):
    client = Client(failing(Teapot("x")), accept="application/json")
    assert (await client.run()).status == 418


@pytest.mark.parametrize("accept", MODES)
async def test_dependencies_see_the_failure_in_every_mode(accept):
    """A transaction must roll back, though the exception ends in the stream or its cut."""
    app = FastAPI()
    seen: list[Any] = []

    async def transaction():
        try:
            yield
        except ValueError as error:
            seen.append(error)
            raise

    @app.get("/")
    @dual_mode
    async def broken(t: None = Depends(transaction)) -> AsyncIterator[int]:
        yield 1
        raise ValueError("late")

    if accept == "text/event-stream":
        assert (await get(app, accept=accept)).events[-1].event == "error"
    else:
        with pytest.raises((ValueError, BrokenTransfer)):
            await get(app, accept=accept)
    assert [str(error) for error in seen] == ["late"]


async def test_a_cancellation_that_nobody_sent_is_a_failure_and_no_clean_end():
    async def source() -> AsyncIterator[int]:
        yield 1
        task = asyncio.get_running_loop().create_future()
        task.cancel()
        await task

    app = FastAPI()
    app.get("/")(dual_mode(source))
    assert (await get(app)).events[-1].event == "error"
    with pytest.raises(SourceCancelled):
        await get(app, accept="application/json")


async def test_a_generator_that_raises_stop_iteration_fails():
    async def source() -> AsyncIterator[int]:
        yield 1
        raise StopIteration  # Python makes it a RuntimeError

    app = FastAPI()
    app.get("/")(dual_mode(source))
    assert (await get(app)).events[-1].event == "error"


# --- status and headers --------------------------------------------------------------------------


@pytest.mark.parametrize("accept", MODES)
async def test_what_the_endpoint_sets_before_the_first_item_is_real(accept):
    app = FastAPI()

    def cookie(response: Response) -> None:
        response.set_cookie("seen", "yes")

    @app.get("/", dependencies=[Depends(cookie)])
    @dual_mode
    async def source(response: Response) -> AsyncIterator[int]:
        response.status_code = 203
        response.headers["X-Report"] = "7"
        yield 1

    answer = await get(app, accept=accept)
    assert answer.status == 203
    assert answer.headers["x-report"] == "7"
    assert "seen=yes" in answer.headers["set-cookie"]


@pytest.mark.parametrize("accept", MODES)
async def test_a_header_of_the_endpoint_replaces_ours_and_vary_adds_up(accept):
    app = FastAPI()

    @app.get("/")
    @dual_mode
    async def source(response: Response) -> AsyncIterator[int]:
        response.headers["Cache-Control"] = "private"
        response.headers["Vary"] = "Cookie"
        response.headers["Content-Type"] = "text/plain"
        yield 1

    answer = await get(app, accept=accept)  # `headers` fails on a header that is there twice
    assert answer.headers["cache-control"] == "private"
    assert answer.headers["vary"] == "Cookie, Accept"
    assert answer.headers["content-type"].partition(";")[0] == accept


async def test_the_routes_status_code_counts():
    app = FastAPI()

    @app.post("/", status_code=201)
    @dual_mode
    async def source() -> AsyncIterator[int]:
        yield 1

    for accept in MODES:
        assert (await get(app, method="POST", accept=accept)).status == 201


async def test_a_header_set_too_late_is_a_logged_warning(caplog):
    app = FastAPI()

    @app.get("/")
    @dual_mode
    async def source(response: Response) -> AsyncIterator[int]:
        yield 1
        response.headers["X-Late"] = "lost"
        yield 2

    with caplog.at_level(logging.WARNING, "dual_mode_streaming"):
        answer = await get(app)
    assert "x-late" not in answer.headers
    assert "headers were set after they were sent" in caplog.text


@on_virtual_clock
async def test_the_grace_commits_before_a_slow_first_item():
    """The headers leave after the grace; a failure after it is told in the stream."""
    go_on = asyncio.Event()
    app = FastAPI()

    @app.get("/")
    @dual_mode(grace=0.01)
    async def slow() -> AsyncIterator[int]:
        await go_on.wait()
        raise HTTPException(404)
        yield 1

    client = Client(app)
    async with client.running():
        await client.until(b": ping\n")
        assert client.status == 200
        go_on.set()
    assert json.loads(client.events[-1].data)["status"] == 404


async def test_no_grace_commits_at_once():
    app = FastAPI()

    @app.get("/")
    @dual_mode(grace=0, retry=50)
    async def failing_at_once() -> AsyncIterator[int]:
        raise HTTPException(404)
        yield 1

    answer = await get(app)
    assert answer.status == 200
    assert answer.body.startswith(b"retry: 50\n")
    assert json.loads(answer.events[-1].data)["status"] == 404


@on_virtual_clock
async def test_lines_commit_after_the_grace_without_any_byte():
    go_on = asyncio.Event()
    app = FastAPI()

    @app.get("/")
    @dual_mode(grace=0.01)
    async def slow() -> AsyncIterator[int]:
        await go_on.wait()
        yield 1

    client = Client(app, accept="application/jsonl")
    async with client.running():
        async with client.news:
            await client.news.wait_for(lambda: len(client.messages) > 1)
        assert client.body == b""
        go_on.set()
    assert client.body == b"1\n"


@pytest.mark.parametrize("accept", MODES)
async def test_a_failing_background_task_or_none_is_starlettes_business(accept):
    from fastapi import BackgroundTasks

    app = FastAPI()
    order = []

    @app.get("/")
    @dual_mode
    async def source(tasks: BackgroundTasks) -> AsyncIterator[int]:
        tasks.add_task(order.append, "background")
        try:
            yield 1
        finally:
            order.append("closed")

    await get(app, accept=accept)
    assert order == ["closed", "background"]
