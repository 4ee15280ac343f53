"""What `install` adds leaves the app's own exception handlers and sources as they are."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.responses import PlainTextResponse

from dual_mode_streaming import DualModeResponse, Problem, ResponseMode, dual_mode, install
from dual_mode_streaming.rendering import ItemCodec, Representation
from dual_mode_streaming.stores import StoreError

from .asgi import get
from .witness import MODES


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


@pytest.mark.parametrize("status", [404, 410, 400])
async def test_a_status_handler_is_for_the_apps_own_routes_and_not_for_those_of_streams(status):
    app = FastAPI()
    install(app)

    @app.exception_handler(status)
    async def own(request, raised):
        return PlainTextResponse("mine", status)

    @app.get("/rec")
    @dual_mode(record=True)
    async def rec(fail: bool = False) -> AsyncIterator[int]:
        if fail:
            raise HTTPException(status)
        yield 1

    async with app.router.lifespan_context(app):
        assert (await get(app, "/rec", query="fail=1")).body == b"mine"
        if status == 404:
            assert (await get(app, "/nowhere")).body == b"mine"
            answer = await get(app, f"/streams/{'0' * 32}")
        else:
            location = (await get(app, "/rec")).headers["location"]
            if status == 410:
                gap = f"last_event_id={location[9:]}.7.7&on_gap=fail"
                answer = await get(app, location, query=gap)
            else:
                answer = await get(app, location, query="last_event_id=x")
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["vary"] == "Accept"


async def test_a_handler_of_problems_is_for_all_routes():
    app = FastAPI()
    install(app)

    @app.exception_handler(Problem)
    async def own(request, raised):
        return PlainTextResponse("mine", 418)

    @app.get("/rec")
    @dual_mode(record=True)
    async def rec() -> AsyncIterator[int]:
        yield 1

    assert (await get(app, f"/streams/{'0' * 32}")).body == b"mine"


async def test_the_forms_of_errors():
    """One rule: a Problem, ours or the app's, is an RFC 9457 problem; all else is FastAPI's."""
    app = FastAPI()
    install(app, batch_items=1)

    @app.get("/{kind}")
    @dual_mode
    async def source(kind: str, n: int = 0) -> AsyncIterator[int]:
        if kind == "http":
            raise HTTPException(409, {"a": 1})
        if kind == "problem":
            raise Problem(409, "taken")
        yield 1
        yield 2

    for path, query, accept, status in (
        *(("/problem", "", "*/*", 409), ("/batch", "", "*/*", 413)),
        ("/any", "", "image/png", 406),
    ):
        answer = await get(app, path, query=query, accept=accept)
        assert (answer.status, answer.headers["content-type"]) == (
            status,
            "application/problem+json",
        )
    for path, query, status in (("/http", "", 409), ("/a/b", "", 404), ("/any", "n=x", 422)):
        answer = await get(app, path, query=query)
        assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
        assert b'"detail"' in answer.body


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"error_event": "a\nb"}, r"error_event must be one line of text, not 'a\\nb'"),
        ({"batch_items": float("inf")}, "batch_items should be a valid integer, not inf"),
        ({"batch_items": 1.5}, "batch_items should be a valid integer, not 1.5"),
        ({"batch_items": True}, "batch_items should be a valid integer, not True"),
        ({"grace": True}, "grace should be a valid number, not True"),
        ({"feed": 1}, "feed should be a valid boolean, not 1"),
        ({"heartbeat": [1]}, r"heartbeat should be a valid number, not \[1\]"),
    ],
)
def test_a_wrong_option_is_said_once(options, message):
    install(FastAPI(), batch_items=1, grace=1.0, feed=True)  # what is equal to it is remembered
    with pytest.raises(ValueError, match=f"^{message}$"):
        install(FastAPI(), **options)


async def test_a_whole_number_may_be_written_as_a_float():
    app = FastAPI()
    install(app, batch_items=1e6, retry=2e3)

    @app.get("/")
    @dual_mode
    async def source() -> AsyncIterator[int]:
        yield 1

    assert b"retry: 2000\n" in (await get(app)).body


class Taken(HTTPException):
    """An exception of the app, with a handler of its own."""


class Broken(Exception):
    """The same, and no HTTPException."""


class Unhandled(Exception):
    """One without a handler."""


RAISED = {
    "text": lambda: HTTPException(409, "taken"),
    "an object": lambda: HTTPException(409, {"by": ["a", None]}),
    "no detail": lambda: HTTPException(409),
    "an empty detail": lambda: HTTPException(409, ""),
    "headers": lambda: HTTPException(401, "who?", {"WWW-Authenticate": "Basic", "X-Own": "1"}),
    "a Problem": lambda: Problem(409, "taken", by="a"),
    "a subclass": lambda: Taken(409, "taken"),
    "of the app": lambda: Broken("inside"),
    "unhandled": lambda: Unhandled("inside"),
    "a timeout": lambda: TimeoutError(),
}


@contextlib.asynccontextmanager
async def failing_app(record: bool):
    app = FastAPI()
    install(app, store="memory")

    @app.exception_handler(Taken)
    @app.exception_handler(Broken)
    async def own(request, raised):
        return PlainTextResponse(f"mine: {raised!r}", 418)

    @app.get("/{kind}/{items}")
    @dual_mode(record=record)
    async def source(kind: str, items: int) -> AsyncIterator[int]:
        for n in range(items):
            yield n
        raise RAISED[kind]()

    async with app.router.lifespan_context(app):
        yield app


async def answer_of(app: FastAPI, path: str, accept: str) -> object:
    """Return what a client sees of an answer, or what its server sees if it has no handler."""
    try:
        answer = await get(app, path, accept=accept)
    except (Unhandled, TimeoutError) as error:
        return repr(error)
    headers = {name: answer.headers[name] for name in answer.headers if name != "location"}
    return answer.status, headers, answer.body


@pytest.mark.parametrize("accept", MODES)
@pytest.mark.parametrize("kind", RAISED)
async def test_a_failure_is_answered_recorded_as_unrecorded(kind, accept):
    answers = []
    for record in False, True:
        async with failing_app(record) as app:
            answers.append(await answer_of(app, f"/{kind}/0", accept))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("kind", ["text", "an object", "no detail", "headers", "a Problem"])
async def test_another_reader_of_a_recorded_failure_sees_the_same(kind):
    key = [("Idempotency-Key", "k")]
    async with failing_app(record=True) as app:
        first, again = [await get(app, f"/{kind}/0", headers=key) for _ in range(2)]
        late = await get(app, f"/{kind}/3", headers=[("Idempotency-Key", "l")])
    assert (first.status, first.body) == (again.status, again.body)
    assert first.headers["content-type"] == again.headers["content-type"]
    assert late.events[-1].event == "error"
    assert "raised" not in json.loads(late.events[-1].data)


@pytest.mark.parametrize("kind", RAISED)
async def test_a_batch_that_fails_after_items_is_the_same_recorded(kind):
    answers = []
    for record in False, True:
        async with failing_app(record) as app:
            answers.append(await answer_of(app, f"/{kind}/2", "application/json"))
    assert answers[0] == answers[1]
