"""A `receive` that others have replaced: the loop runs on, the answer is whole, the log knows."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import Response

from dual_mode_streaming import dual_mode, install
from dual_mode_streaming.stores import MemoryStore
from dual_mode_streaming.testing import run_with_virtual_clock

from .asgi import Client, get, on_virtual_clock
from .witness import MODES, Witness, app_of, idle, silent

END = {"type": "http.request", "body": b"", "more_body": False}
MORE = {"type": "http.request", "body": b"", "more_body": True}


class Odd(BaseException):
    """What no `except Exception` catches."""


def returns(*messages):
    """A `receive` that returns these at once, the last of them for ever."""
    left = list(messages)

    async def receive():
        return left.pop(0) if len(left) > 1 else left[0]

    return receive


def raises(error):
    async def receive():
        raise error

    return receive


async def yielding():
    await asyncio.sleep(0)
    return MORE


async def blocking():
    await asyncio.Event().wait()


RECEIVES = {
    "the end again and again": lambda: returns(END),
    "an empty body without end": lambda: returns(MORE),
    "the same with a turn of the loop": lambda: yielding,
    "a body without end": lambda: returns({**MORE, "body": b"x" * 1000}),
    "a body of single bytes": lambda: returns({**MORE, "body": b"x"}),
    "a body again and again": lambda: returns({**END, "body": b"x"}),
    "a big body in one message": lambda: returns({**END, "body": b"x" * 10**6}),
    "no more_body": lambda: returns({"type": "http.request"}),
    "a body of None": lambda: returns({"type": "http.request", "body": None}),
    "an unknown type": lambda: returns({"type": "http.surprise"}),
    "None": lambda: returns(None),
    "text": lambda: returns("http.request"),
    "no type": lambda: returns({}),
    "a body that is a number": lambda: returns({**END, "body": 7}),
    "RuntimeError": lambda: raises(RuntimeError("on purpose")),
    "AssertionError": lambda: raises(AssertionError("on purpose")),
    "OSError": lambda: raises(ConnectionResetError("on purpose")),
    "CancelledError": lambda: raises(asyncio.CancelledError("on purpose")),
    "a BaseException": lambda: raises(Odd("on purpose")),
    "not a coroutine function": lambda: dict,
    "None for a function": lambda: None,
    "blocks": lambda: blocking,
}
SILENT = {"blocks", "an empty body without end"}
SILENT |= {"the same with a turn of the loop", "a body without end", "a body of single bytes"}


def waiting_app(record: bool) -> FastAPI:
    app = FastAPI()
    if record:
        install(app, store=MemoryStore())

    @app.api_route("/", methods=["GET", "POST"])
    @dual_mode(record=record)
    async def source() -> AsyncIterator[int]:
        for n in range(2):
            await asyncio.sleep(100)  # of the virtual clock: also for ever is soon over
            yield n

    return app


@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize("accept", MODES)
@pytest.mark.parametrize("name", RECEIVES)
def test_an_answer_is_whole_whatever_receive_does(name, accept, record, caplog):
    async def scenario():
        client = Client(waiting_app(record), accept=accept)
        client.receive = RECEIVES[name]()
        client.timeout = 10_000
        return await client.run()

    client = run_with_virtual_clock(scenario())
    assert client.status == 200
    assert client.complete
    if accept == "application/json":
        assert json.loads(client.body) == {"data": [0, 1]}
    elif accept == "text/event-stream":
        assert [event.event for event in client.events][-1] == "done"
    else:
        assert client.body == b"0\n1\n"
    loud = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(loud) == (name not in SILENT)
    if "on purpose" in caplog.text:
        assert loud[0].exc_info


@on_virtual_clock
async def test_a_source_that_waits_for_the_loop_itself_is_not_starved():
    """The other tasks of the process are served while `receive` returns at once."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        for _ in range(50):
            await asyncio.sleep(1)
            turns += 1

    client = Client(waiting_app(False))
    client.receive = returns({**MORE, "body": b"x" * 9000})
    client.timeout = 1000
    task = asyncio.create_task(other())
    await client.run()
    await task
    assert turns == 50


class Log:
    """A middleware that replays the body, with `last` for ever after it."""

    def __init__(self, app, last) -> None:
        self.app, self.last = app, last

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        body = (await receive()).get("body", b"")
        await self.app(scope, returns({**END, "body": body}, self.last), send)


class Rebuild(APIRoute):
    """A route that reads the body and goes on with a Request of its own."""

    def get_route_handler(self):
        original = super().get_route_handler()

        async def handler(request: Request):
            body = await request.body()
            return await original(Request(request.scope, returns({**END, "body": body + b"!"})))

        return handler


async def replaced(request, call_next):
    """The old recipe to log a body in a BaseHTTPMiddleware."""
    request._receive = returns({**END, "body": await request.body()})
    return await call_next(request)


def middleware(app: FastAPI, kind: str) -> None:
    if kind == "pure, the end":
        app.add_middleware(Log, last=END)
    elif kind == "pure, a disconnect":
        app.add_middleware(Log, last={"type": "http.disconnect"})
    elif kind == "BaseHTTPMiddleware":
        app.add_middleware(BaseHTTPMiddleware, dispatch=replaced)
    elif kind == "BaseHTTPMiddleware, pure":
        app.add_middleware(BaseHTTPMiddleware, dispatch=replaced)
        app.add_middleware(Log, last=END)
    else:
        app.router.route_class = Rebuild


KINDS = ["pure, the end", "BaseHTTPMiddleware", "BaseHTTPMiddleware, pure", "Request rebuilt"]
INSTALLED = [*((kind, False) for kind in KINDS), *((kind, True) for kind in KINDS)]


@pytest.mark.parametrize(("kind", "installed"), [*INSTALLED, ("pure, a disconnect", True)])
@pytest.mark.parametrize("accept", MODES)
@pytest.mark.parametrize("at", ["first", "later"])
async def test_the_body_is_read_where_the_users_code_has_put_it(kind, installed, accept, at):
    app = FastAPI()
    if installed:
        install(app)
    middleware(app, kind)

    @app.post("/")
    @dual_mode
    async def echo(request: Request) -> AsyncIterator[str]:
        if at == "later":
            for _ in range(20):
                await asyncio.sleep(0)  # the watch for the disconnect has begun
        yield (await request.body()).decode()
        for _ in range(20):
            await asyncio.sleep(0)

    answer = await get(app, accept=accept, method="POST", body=[b"hi"])
    assert answer.status == 200
    assert answer.complete
    assert (b'"hi!"' if kind == "Request rebuilt" else b'"hi"') in answer.body


@pytest.mark.parametrize("kind", [*KINDS, "pure, a disconnect"])
@pytest.mark.parametrize("accept", MODES)
async def test_an_installed_app_notices_the_disconnect_behind_a_replaced_receive(
    kind, accept, caplog
):
    witness = Witness()
    app = app_of(idle(witness))
    install(app)
    middleware(app, kind)
    if kind == "Request rebuilt":
        app.router.routes.clear()
        app.get("/")(dual_mode(idle(witness)))
    client = Client(app, accept=accept)
    async with client.running():
        await witness.started.wait()
        client.leave()
    assert witness.log[-1] == "closed"
    assert "WARNING" not in caplog.text


async def test_a_disconnect_at_once_is_logged_where_it_may_be_a_middlewares(caplog):
    witness = Witness()
    client = Client(app_of(silent(witness)))  # one that yields may be at its yield by then
    client.receive = returns(END, {"type": "http.disconnect"})
    await client.run()
    assert witness.log == ["cancelled", "closed"]
    assert "install(app) asks the server's own" in caplog.text


@on_virtual_clock
async def test_a_big_body_in_one_message_does_not_hide_the_disconnect():
    witness = Witness()
    app = FastAPI()
    app.post("/")(dual_mode(idle(witness)))
    client = Client(app, method="POST", body=[b"x" * 10**6])
    async with client.running():
        await witness.started.wait()
        client.leave()
    assert asyncio.get_running_loop().time() < 1


async def test_a_scope_with_the_required_keys_alone_is_answered():
    app = waiting_app(False)

    @app.get("/now")
    @dual_mode
    async def now() -> AsyncIterator[int]:
        await asyncio.sleep(0)
        yield 1

    for accept in MODES:
        client = Client(app, "/now", accept=accept)
        for name in ("client", "server", "extensions", "raw_path", "root_path", "scheme", "asgi"):
            del client.scope[name]
        assert (await client.run()).complete


async def test_other_endpoints_of_an_installed_app_read_their_bodies_as_before():
    app = FastAPI()
    install(app)

    @app.post("/")
    async def echo(request: Request) -> Response:
        return Response(await request.body())

    chunks = [b"a" * 100_000, b"b" * 100_000, b"c"]
    assert (await get(app, method="POST", body=chunks)).body == b"".join(chunks)
