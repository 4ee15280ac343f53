"""What `dual_mode` decorates: every callable that gives an iterator, and refusals of others."""

from __future__ import annotations  # as in many users' modules: every annotation is a string

import asyncio
import contextlib
import functools
import inspect
import json
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, NewType

import pytest
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.testclient import TestClient
from pydantic import BaseModel
from typing_extensions import TypeAliasType

from dual_mode_streaming import dual_mode, install
from dual_mode_streaming.llm.wire import UIMessageStream
from dual_mode_streaming.streams import stream_content

from . import decorators
from .asgi import Client, get


class Out(BaseModel):
    n: int


async def agen(n: int = 1) -> AsyncIterator[Out]:
    """Documented."""
    yield Out(n=n)


def plain(n: int = 1) -> Iterator[Out]:
    """Documented."""
    yield Out(n=n)


def returns(n: int = 1) -> AsyncIterator[Out]:
    """Documented."""
    return agen(n)


async def awaits(n: int = 1) -> AsyncIterator[Out]:
    """Documented."""
    await asyncio.sleep(0)
    return agen(n)


async def awaits_plain(n: int = 1) -> Iterator[Out]:
    """Documented."""
    return plain(n)


def returns_plain(n: int = 1) -> Iterator[Out]:
    """Documented."""
    return iter([Out(n=n)])


async def two(m: int, n: int = 1) -> AsyncIterator[Out]:
    """Documented."""
    yield Out(n=n)


class Feed:
    """Documented."""

    async def __call__(self, n: int = 1) -> AsyncIterator[Out]:
        yield Out(n=n)

    async def agen(self, n: int = 1) -> AsyncIterator[Out]:
        """Documented."""
        yield Out(n=n)

    async def awaits(self, n: int = 1) -> AsyncIterator[Out]:
        """Documented."""
        return self.agen(n)

    def plain(self, n: int = 1) -> Iterator[Out]:
        """Documented."""
        yield Out(n=n)

    @classmethod
    async def of_class(cls, n: int = 1) -> AsyncIterator[Out]:
        """Documented."""
        yield Out(n=n)

    @staticmethod
    async def static(n: int = 1) -> AsyncIterator[Out]:
        """Documented."""
        yield Out(n=n)

    @decorators.traced
    async def traced(self, n: int = 1) -> AsyncIterator[Out]:
        """Documented."""
        yield Out(n=n)

    bound = functools.partialmethod(two, n=2)

    async def two(self, m: int, n: int = 1) -> AsyncIterator[Out]:
        """Documented."""
        yield Out(n=n)

    partial = functools.partialmethod(two, 7)


class Calls:
    """Documented."""

    def __call__(self, n: int = 1) -> AsyncIterator[Out]:
        return agen(n)


class PositionOnly:
    async def read(self, n: int = 1, /) -> AsyncIterator[Out]:
        """Documented."""
        yield Out(n=n)


class Items:
    """Documented."""

    def __init__(self, n: int = 1) -> None:
        self.n = n

    async def __aiter__(self) -> AsyncIterator[Out]:
        yield Out(n=self.n)


CALLABLES = {
    "async generator": agen,
    "generator": plain,
    "returns an async iterator": returns,
    "async, returns an async iterator": awaits,
    "async, returns an iterator": awaits_plain,
    "returns an iterator": returns_plain,
    "method": Feed().agen,
    "async method": Feed().awaits,
    "plain method": Feed().plain,
    "class method": Feed.of_class,
    "static method": Feed.static,
    "position only": PositionOnly().read,
    "object": Feed(),
    "object that returns": Calls(),
    "class": Items,
    "partial": functools.partial(two, 1),
    "partials": functools.partial(functools.partial(two, m=1)),
    "partial of an object": functools.partial(Feed()),
    "partial method": Feed().partial,
    "wrapped": decorators.traced(agen),
    "wrapped plain": decorators.traced(plain),
    "wrapped by a generator": decorators.relayed(agen),
    "wrapped by a coroutine": decorators.awaited(returns),
    "wrapped, unwrapped": decorators.awaited(agen),
    "wrapped often": decorators.traced(decorators.awaited(decorators.traced(awaits))),
    "wrapped method": Feed().traced,
    "wrapped object": decorators.traced(Feed()),
    "wrapped partial": decorators.traced(functools.partial(two, m=1)),
    "partial of a wrapped one": functools.partial(decorators.awaited(two), m=1),
    "decorated by an object": decorators.Counted(agen),
    "plain, made async": decorators.made_async(plain),
    "proxy": decorators.Proxy(agen),
    "proxy that is awaited": decorators.Proxy(awaits),
    "opaque proxy": decorators.opaque(decorators.called, agen),
    "opaque proxy of a plain one": decorators.opaque(decorators.called, plain),
}


@pytest.mark.parametrize("function", CALLABLES.values(), ids=CALLABLES.keys())
async def test_every_callable_that_gives_an_iterator(function):
    app = FastAPI()
    install(app)
    endpoint = app.get("/")(dual_mode(function))
    assert json.loads((await get(app, accept=None, query="n=3")).body) == {"data": [{"n": 3}]}
    assert [e.event for e in (await get(app, query="n=3")).events] == [None, "done"]
    assert (await get(app, accept="application/jsonl")).body == b'{"n":1}\n'
    operation = app.openapi()["paths"]["/"]["get"]
    assert {p["name"] for p in operation["parameters"]} - {"Last-Event-ID"} == {"n", "stream"}
    if function not in (CALLABLES["wrapped partial"], CALLABLES["object"]):
        assert operation["description"] == "Documented."
    stream = operation["responses"]["200"]["content"]["application/jsonl"]
    assert stream["itemSchema"] == {"$ref": "#/components/schemas/Out"}
    assert endpoint.generator is function


def test_one_endpoint_of_each_object():
    class Views:
        def __init__(self, name: str) -> None:
            self.name = name

        @dual_mode
        async def read(self, n: int = 1) -> AsyncIterator[Out | str]:
            yield self.name
            yield Out(n=n)

        @dual_mode
        @staticmethod
        async def static(n: int = 1) -> AsyncIterator[Out]:
            yield Out(n=n)

        @dual_mode
        @classmethod
        async def named(cls, n: int = 1) -> AsyncIterator[str]:
            yield cls.__name__

        @staticmethod
        @dual_mode
        async def outside(n: int = 1) -> AsyncIterator[Out]:
            yield Out(n=n)

        three = functools.partialmethod(read, n=3)

    app, a, b = FastAPI(), Views("a"), Views("b")
    install(app)
    routes = {"a": a.read, "b": b.read, "static": a.static, "named": a.named, "three": a.three}
    for name, endpoint in {**routes, "outside": a.outside, "class": Views.static}.items():
        app.add_api_route(f"/{name}", endpoint)
    client = TestClient(app)
    answers = {name: client.get(f"/{name}?n=2").json()["data"] for name in routes}
    two = {"n": 2}
    assert answers["a"] == ["a", two]
    assert answers["b"] == ["b", two]
    assert answers["static"] == client.get("/outside?n=2").json()["data"] == [two]
    assert answers["static"] == client.get("/class?n=2").json()["data"]
    assert answers["named"] == ["Views"]
    assert answers["three"][0] == "a"
    for name in routes:
        operation = app.openapi()["paths"][f"/{name}"]["get"]
        assert {p["name"] for p in operation["parameters"]} == {"n", "stream"}, name
        assert "text/event-stream" in operation["responses"]["200"]["content"]


@pytest.mark.parametrize("recorded", [True, False])
def test_static_methods_in_any_order_of_decorators(recorded):
    app = FastAPI()
    install(app)
    decorate = dual_mode(record=recorded)

    async def items(n: int = 1) -> AsyncIterator[int]:
        yield n

    class Views:
        a = app.get("/a")(decorate(staticmethod(items)))
        b = app.get("/b")(staticmethod(decorate(items)))
        c = staticmethod(app.get("/c")(decorate(items)))

    with TestClient(app) as client:
        for path in ("/a", "/b", "/c"):
            assert client.get(path, params={"n": 2}).json() == {"data": [2]}
            response = app.openapi()["paths"][path]["get"]["responses"]["200"]
            assert "text/event-stream" in response["content"]
    assert Views.a.generator is Views.b.generator is Views.c.generator


def test_methods_of_a_class_based_view():
    """As fastapi-utils' `cbv` does it: `self` becomes a dependency on the class."""

    class Views:
        def __init__(self, tenant: str = "t") -> None:
            self.tenant = tenant

        @dual_mode
        async def read(self, n: Annotated[int, Query()] = 1) -> AsyncIterator[str]:
            yield f"{self.tenant}{n}"

    endpoint = Views.read
    first, *others = inspect.signature(endpoint).parameters.values()
    others = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in others]
    signature = inspect.Signature([first.replace(default=Depends(Views)), *others])
    endpoint.__signature__ = signature
    router = APIRouter()
    router.get("/")(endpoint)
    app = FastAPI()
    app.include_router(router)
    assert TestClient(app).get("/?tenant=u&n=2").json() == {"data": ["u2"]}


def test_what_a_partial_binds_cannot_be_sent_by_a_client():
    async def rows(table: str, n: int = 1) -> AsyncIterator[str]:
        yield f"{table}{n}"

    app = FastAPI()
    app.get("/")(dual_mode(functools.partial(rows, table="public")))
    assert TestClient(app).get("/?table=secret&n=2").json() == {"data": ["public2"]}


def test_the_signature_of_a_wrapper_wins():
    async def rows(db: Any, n: Annotated[int, Query(ge=0)] = 1) -> AsyncIterator[Any]:
        yield [db, n]

    app = FastAPI()
    app.get("/")(dual_mode(decorators.provided(rows)))
    assert TestClient(app).get("/?n=2").json() == {"data": [["given", 2]]}
    assert TestClient(app).get("/?n=-2").status_code == 422


def test_names_of_classes_and_factories_around_a_function():
    def factory(item: type[BaseModel], wrap: Any) -> Any:
        async def source(n: int) -> AsyncIterator[Item]:
            yield Item(n=n)

        Item = item
        return wrap(source)

    class Views:
        class Row(BaseModel):
            n: int

        @dual_mode
        async def read(self, n: int = 1) -> AsyncIterator[Row]:
            yield self.Row(n=n)

    later = factory(Out, decorators.traced)
    for function in (later, decorators.awaited(later)):
        app = FastAPI()
        app.get("/")(dual_mode(function))
        assert TestClient(app).get("/?n=1").json() == {"data": [{"n": 1}]}
    app = FastAPI()
    app.get("/")(Views().read)
    assert TestClient(app).get("/").json() == {"data": [{"n": 1}]}


class Closing:
    """A source with some of the ways to close it."""

    log: list[str]

    def __init__(self) -> None:
        self.log = []
        self.left = 3

    async def __anext__(self) -> int:
        self.left -= 1
        if not self.left:
            raise StopAsyncIteration
        return self.left

    def __aiter__(self) -> Any:
        return self


class WithAclose(Closing):
    async def aclose(self) -> None:
        self.log.append("closed")


class WithClose(Closing):
    """As the results of SQLAlchemy's AsyncSession.stream()."""

    async def close(self) -> None:
        self.log.append("closed")


class OnlyManaged(Closing):
    """As the streams of OpenAI's SDK."""

    async def __aenter__(self) -> Closing:
        self.log.append("entered")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.log.append("closed")


class Manager:
    """As the streams of Anthropic's SDK: the source is what the manager gives."""

    def __init__(self) -> None:
        self.log: list[str] = []

    async def __aenter__(self) -> Closing:
        return Closing()

    async def __aexit__(self, *exc_info: object) -> None:
        self.log.append("closed")


class Iterable:
    """No iterator itself."""

    def __init__(self) -> None:
        self.log: list[str] = []

    async def aclose(self) -> None:
        self.log.append("closed")

    async def __aiter__(self) -> AsyncIterator[int]:
        try:
            yield 2
            yield 1
        finally:
            self.log.append("iterator closed")


@contextlib.asynccontextmanager
async def rows_of_a_session(log: list[str]) -> Any:
    try:
        yield iter(range(1000))  # more than a stream is ahead of its reader
    except BaseException:
        log.append("rolled back")
        raise
    log.append("closed")


@pytest.mark.parametrize("kind", [Closing, WithAclose, WithClose, OnlyManaged, Manager, Iterable])
@pytest.mark.parametrize("leaves", [False, True])
async def test_what_a_function_returns_is_closed(kind, leaves):
    source, app = kind(), FastAPI()

    async def function() -> Any:
        return source

    app.get("/")(dual_mode(function))
    if not leaves:
        assert json.loads((await get(app, accept=None)).body) == {"data": [2, 1]}
    else:
        client = Client(app)
        client.pause()
        async with client.running():
            await client.blocked.wait()
            client.leave()
    assert ("closed" in source.log) == (kind is not Closing)
    assert ("iterator closed" in source.log) == (kind is Iterable)


async def test_a_context_manager_sees_how_its_stream_ended():
    log: list[str] = []
    app = FastAPI()

    @app.get("/")
    @dual_mode
    def rows() -> contextlib.AbstractAsyncContextManager[Iterator[int]]:
        return rows_of_a_session(log)

    assert json.loads((await get(app, accept=None)).body) == {"data": [*range(1000)]}
    client = Client(app)
    client.pause()
    async with client.running():
        await client.blocked.wait()
        client.leave()
    assert log == ["closed", "rolled back"]


@contextlib.contextmanager
def rows_of_a_connection(log: list[Any]) -> Iterator[Iterator[int]]:
    log.append(threading.get_ident())
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        yield (n for (n,) in connection.execute("SELECT 2 UNION ALL SELECT 1"))
    log.append(threading.get_ident())


@pytest.mark.parametrize("decorated", [True, False])
async def test_a_plain_context_manager_is_entered_and_left_in_one_thread(decorated):
    log: list[Any] = []

    def rows() -> contextlib.AbstractContextManager[Iterator[int]]:
        return rows_of_a_connection(log)

    app = FastAPI()
    app.get("/")(dual_mode(functools.partial(rows_of_a_connection, log) if decorated else rows))
    assert json.loads((await get(app, accept=None)).body) == {"data": [2, 1]}
    assert len(log) == 2
    assert len(set(log)) == 1
    assert threading.get_ident() not in log


Rows = NewType("Rows", Iterator[int])
Rowed = TypeAliasType("Rowed", Annotated[Rows | None, "of a database"])


@pytest.mark.parametrize("returns", [Iterator[int], Rows, Rowed, Response | Rows], ids=str)
async def test_a_function_of_plain_items_is_called_in_their_thread_however_it_is_annotated(returns):
    log: list[int] = []

    def rows() -> Any:
        log.append(threading.get_ident())
        return iter([1, 2])

    rows.__annotations__["return"] = returns
    app = FastAPI()
    app.get("/")(dual_mode(rows))
    assert json.loads((await get(app, accept=None)).body) == {"data": [1, 2]}
    assert log
    assert threading.get_ident() not in log


async def test_a_function_is_called_in_the_task_that_owns_its_source():
    tasks, app = [], FastAPI()

    @app.get("/")
    @dual_mode
    async def source() -> AsyncIterator[int]:
        tasks.append(asyncio.current_task())

        async def items() -> AsyncIterator[int]:
            tasks.append(asyncio.current_task())
            try:
                async with asyncio.timeout(60):
                    yield 1
            finally:
                tasks.append(asyncio.current_task())

        return items()

    assert [e.event for e in (await get(app)).events] == [None, "done"]
    assert len(tasks) == 3
    assert len(set(tasks)) == 1


async def test_a_refused_request_and_a_head_call_nothing():
    called, app = [], FastAPI()

    @app.api_route("/", methods=["GET", "HEAD"])
    @dual_mode
    async def source() -> AsyncIterator[int]:
        called.append(1)
        return stream_content([1])

    assert (await get(app, method="HEAD")).status == 200
    assert (await get(app, accept="image/png")).status == 406
    assert not called
    assert (await get(app)).status == 200
    assert called


@pytest.mark.parametrize("accept", ["text/event-stream", "application/json"])
async def test_a_client_that_leaves_cancels_a_function_that_awaits(accept):
    began, ended, app = asyncio.Event(), [], FastAPI()

    @app.get("/")
    @dual_mode
    async def source() -> AsyncIterator[int]:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(True)
        return stream_content([1])

    client = Client(app, accept=accept)
    async with client.running():
        await began.wait()
        client.leave()
    assert ended


async def test_a_timeout_across_the_yields_of_a_returned_generator():
    app = FastAPI()

    async def items() -> AsyncIterator[int]:
        try:
            async with asyncio.timeout(0.01):
                while True:
                    yield 1
        except TimeoutError:
            yield 2

    app.get("/")(dual_mode(lambda: items()))
    assert json.loads((await get(app, accept=None)).body)["data"][-1] == 2


@pytest.mark.parametrize("annotated", [True, False])
async def test_a_plain_iterator_is_made_and_read_in_one_thread(annotated):
    threads: set[threading.Thread] = set()

    def rows() -> Iterator[int]:
        threads.add(threading.current_thread())

        def items() -> Iterator[int]:
            for n in range(20):
                threads.add(threading.current_thread())
                yield n

        return items()

    function = rows
    if not annotated:
        del rows.__annotations__["return"]
        threads.add(threading.current_thread())  # nothing shows that it gives a plain iterator
    app = FastAPI()
    app.get("/")(dual_mode(function))
    assert len(json.loads((await get(app, accept=None)).body)["data"]) == 20
    assert threading.current_thread() not in threads or not annotated


def redirects() -> AsyncIterator[int] | Response:
    return RedirectResponse("/there", 307)


async def redirects_later() -> AsyncIterator[int] | Response:
    return RedirectResponse("/there", 307)


def redirects_plain() -> Iterator[int] | Response:
    return RedirectResponse("/there", 307)


@pytest.mark.parametrize("function", [redirects, redirects_later, redirects_plain])
@pytest.mark.parametrize("accept", [None, "text/event-stream", "application/jsonl"])
@pytest.mark.parametrize("fold", [True, False])
async def test_a_response_is_passed_on(function, accept, fold, caplog):
    async def total(items: AsyncIterator[int]) -> int:
        return sum([item async for item in items])

    app = FastAPI()
    install(app)
    app.get("/")(dual_mode(fold=total if fold else None)(function))
    caplog.set_level("INFO")
    answer = await get(app, accept=accept)
    assert (answer.status, answer.headers["location"]) == (307, "/there")
    assert "failed" not in caplog.text


async def test_a_response_after_the_headers_is_a_failure_that_says_so(caplog):
    app = FastAPI()
    app.get("/")(dual_mode(grace=0)(redirects_later))
    answer = await get(app)
    assert answer.status == 200
    assert answer.events[-1].event == "error"
    assert "returned a Response when the headers" in caplog.text


async def gives_list() -> list[int]:
    return [1]


async def gives_none() -> None: ...


def gives_response() -> Response:
    return Response()


async def gives_out() -> Out | None:
    return Out(n=1)


async def forgot():  # type: ignore[no-untyped-def]
    await asyncio.sleep(0)


async def literal():  # type: ignore[no-untyped-def]
    if threading.active_count():
        return [1, 2]
    return {"a": 1}


@pytest.mark.parametrize("function", [redirects, redirects_later, redirects_plain])
def test_a_recording_has_no_place_for_a_response(function, caplog):
    app = FastAPI()
    install(app)
    app.get("/")(dual_mode(record=True)(function))
    with TestClient(app) as client:
        answer = client.get("/", follow_redirects=False)
        assert answer.status_code == 500
        assert "a recording; raise an HTTPException" in caplog.text


class NoFeed:
    async def read(self) -> dict[str, int]:
        return {}


@pytest.mark.parametrize(
    "function",
    [
        *(gives_list, gives_none, gives_response, gives_out, forgot, literal, NoFeed().read),
        functools.partial(gives_list),
    ],
    ids=lambda function: getattr(function, "__name__", "partial"),
)
def test_a_function_that_shows_no_iterator_is_refused(function):
    with pytest.raises(TypeError, match=r"^dual_mode: \w.* gives no items: use `yield`"):
        dual_mode(function)


def test_other_refusals():
    with pytest.raises(TypeError, match=r"needs a function that gives an iterator, not 3"):
        dual_mode(3)
    with pytest.raises(TypeError, match=r"bare.*takes \*args, which .* functools.wraps"):
        dual_mode(decorators.bare(agen))
    with pytest.raises(TypeError, match=r"agen is decorated with dual_mode already"):
        dual_mode(dual_mode(agen))
    with pytest.raises(TypeError, match=r"the fold agen must return the batch body"):
        dual_mode(fold=agen)
    with pytest.raises(TypeError, match=r"decorate the bound method"):

        class Views:
            @dual_mode(record=True)
            async def read(self, resume_from: int) -> AsyncIterator[int]:
                yield 1


@pytest.mark.parametrize("result", [[1], None, {"a": 1}, Out(n=1), "text", range(3)], ids=str)
@pytest.mark.parametrize("awaits", [True, False])
async def test_a_result_that_is_no_iterator(result, awaits):
    def later():  # type: ignore[no-untyped-def]
        return result

    async def source():  # type: ignore[no-untyped-def]
        return result

    app = FastAPI()
    app.get("/")(dual_mode(source if awaits else later))
    with pytest.raises(
        TypeError, match=f"returned {type(result).__qualname__}, which is no iterator"
    ):
        await get(app, accept=None)


async def test_a_direct_call_says_what_to_call():
    endpoint = dual_mode(agen)
    with pytest.raises(TypeError, match=r"^agen is a path operation.*agen\.generator\(\.\.\.\)"):
        await endpoint(n=1)
    with pytest.raises(TypeError, match=r"agen\.generator\(\.\.\.\)"):
        await endpoint(1)
    assert [item.n async for item in endpoint.generator(n=2)] == [2]


async def test_a_function_may_have_the_request_itself():
    async def source(request: Request, response: Response) -> AsyncIterator[str]:
        response.headers["x-a"] = "b"
        return stream_content([request.url.path])

    app = FastAPI()
    app.get("/")(dual_mode(source))
    answer = await get(app, accept=None)
    assert json.loads(answer.body) == {"data": ["/"]}
    assert answer.headers["x-a"] == "b"


@pytest.mark.parametrize("function", [returns, awaits, returns_plain, Feed().awaits])
def test_a_recorded_function_that_returns_an_iterator(function):
    app = FastAPI()
    install(app)
    app.get("/")(dual_mode(record=True)(function))
    with TestClient(app) as client:
        answer = client.get("/?n=2", headers={"accept": "text/event-stream"})
        assert 'data: {"n":2}' in answer.text
        assert client.get("/?n=3").json() == {"data": [{"n": 3}]}


@pytest.mark.parametrize("fold", [5, "total", [len]])
def test_a_fold_that_cannot_be_called_is_refused(fold):
    with pytest.raises(TypeError, match="a fold is an async function of the async iterator"):
        dual_mode(fold=fold)


@pytest.mark.parametrize("wire", ["agui", UIMessageStream, True, {}])
def test_a_wire_format_that_is_none_is_refused(wire):
    with pytest.raises(TypeError, match="wire needs a WireFormat, such as UIMessageStream"):
        dual_mode(wire=wire)


def test_a_fold_that_is_no_async_function_is_named():
    app = FastAPI()
    app.get("/")(dual_mode(fold=lambda items: 5)(agen))
    with pytest.raises(TypeError, match=r"the fold .*lambda.* is no async function"):
        TestClient(app).get("/")
