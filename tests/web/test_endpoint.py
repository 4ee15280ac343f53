"""What FastAPI sees of a decorated function: its parameters, its annotations, and no generator."""

from __future__ import annotations  # as in many users' modules: every annotation is a string

import functools
import inspect
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import TYPE_CHECKING, Annotated

import pytest
from fastapi import Depends, FastAPI, Query, Request, Response
from pydantic import BaseModel

from dual_mode_streaming import dual_mode

from .asgi import get

if TYPE_CHECKING:
    from decimal import Decimal


class Item(BaseModel):
    n: int


def user() -> str:
    return "ann"


async def annotated(
    request: Request,
    response: Response,
    who: Annotated[str, Depends(user)],
    n: Annotated[int, Query(ge=0)] = 1,
) -> AsyncIterator[Item]:
    """Documented."""
    response.headers["X-Who"] = who
    response.headers["X-Path"] = request.url.path
    yield Item(n=n)


async def test_annotations_that_are_strings_are_resolved():
    app = FastAPI()
    app.get("/")(dual_mode(annotated))
    answer = await get(app, query="n=7")
    assert json.loads(answer.events[0].data) == {"n": 7}
    assert (answer.headers["x-who"], answer.headers["x-path"]) == ("ann", "/")
    assert (await get(app, query="n=-1")).status == 422
    operation = app.openapi()["paths"]["/"]["get"]
    assert operation["description"] == "Documented."
    assert {parameter["name"] for parameter in operation["parameters"]} == {"n"}


async def test_names_that_are_local_where_the_function_is_made():
    class Local(BaseModel):
        a: int

    app = FastAPI()

    @app.get("/")
    @dual_mode(heartbeat=3)
    async def source() -> AsyncIterator[Local]:
        yield Local(a=1)

    assert app.routes[-1].response_model.model_fields["data"].annotation == list[Local]
    assert json.loads((await get(app)).events[0].data) == {"a": 1}


async def test_names_of_the_caller_mean_nothing_to_a_function_of_a_module():
    Item = "not the Item of this module"  # noqa: F841

    app = FastAPI()
    app.get("/")(dual_mode(annotated))
    assert json.loads((await get(app)).events[0].data) == {"n": 1}


async def test_a_parameter_with_the_flags_name_may_be_something_else():
    async def source(stream: str = "no bool") -> AsyncIterator[str]:
        yield stream

    app = FastAPI()
    app.get("/")(dual_mode(source))
    assert json.loads((await get(app, accept=None, query="stream=x")).body) == {"data": ["x"]}


def test_a_name_that_is_nowhere_is_told_where_it_is_missed():
    async def source(amount: Decimal) -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match=r"annotation of .*source: name 'Decimal' is not defined"):
        dual_mode(source)


def test_what_fastapi_unwraps_is_no_generator():
    endpoint = dual_mode(annotated)
    assert not hasattr(endpoint, "__wrapped__")
    assert inspect.iscoroutinefunction(endpoint)
    assert not inspect.isasyncgenfunction(inspect.unwrap(endpoint))
    assert endpoint.__name__ == "annotated"
    names = list(inspect.signature(endpoint).parameters)
    assert names == ["request", "response", "who", "n"]


async def generator() -> AsyncGenerator[Item, None]:
    yield Item(n=1)


def plain() -> Iterator[Item]:
    yield Item(n=1)


async def unannotated():  # type: ignore[no-untyped-def]
    yield Item(n=1)


class Callable:
    async def method(self, n: int = 1) -> AsyncIterator[Item]:
        yield Item(n=n)


@pytest.mark.parametrize(
    "function",
    [
        generator,
        plain,
        unannotated,
        Callable().method,
        functools.partial(Callable().method, n=1),
    ],
    ids=["generator", "plain", "unannotated", "method", "partial"],
)
async def test_every_kind_of_generator_function(function):
    app = FastAPI()
    app.get("/")(dual_mode(function))
    assert json.loads((await get(app, accept=None)).body) == {"data": [{"n": 1}]}
    assert json.loads((await get(app)).events[0].data) == {"n": 1}


async def test_one_function_under_several_routes_with_options_of_their_own():
    class Sparse(BaseModel):
        a: int | None = None
        b: int = 1

    async def source() -> AsyncIterator[Sparse]:
        yield Sparse()

    endpoint, app = dual_mode(source), FastAPI()
    app.get("/all")(endpoint)
    app.get("/sparse", response_model_exclude_none=True)(endpoint)
    app.get("/b", response_model_include={"b"})(endpoint)
    for path, item in [("/all", {"a": None, "b": 1}), ("/sparse", {"b": 1}), ("/b", {"b": 1})]:
        for accept in ("application/json", "application/jsonl"):
            body = json.loads((await get(app, path, accept=accept)).body)
            assert body == (item if accept.endswith("l") else {"data": [item]})
