"""Warnings when an app starts: reversed decorators, and dependencies that end too early."""

import contextlib
import functools
import sqlite3
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.testclient import TestClient

from dual_mode_streaming import dual_mode, install


def started(app: FastAPI) -> list[str]:
    """Start the app, and return its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with TestClient(app):
            pass
    return [str(each.message) for each in caught]


def by_app(app: FastAPI) -> Any:
    return app.get("/x")


def by_router(app: FastAPI) -> Any:
    router = APIRouter()
    around = APIRouter(prefix="/around")
    decorate = router.get("/x")

    def later(function: Any) -> Any:
        decorate(function)
        around.include_router(router)
        app.include_router(around, prefix="/all")
        return function

    return later


def by_mounted_app(app: FastAPI) -> Any:
    sub = FastAPI()
    app.mount("/sub", sub)
    return sub.get("/x")


def by_add_route(app: FastAPI) -> Any:
    def add(function: Any) -> Any:
        app.add_api_route("/x", function, methods=["GET"])
        return function

    return add


@pytest.mark.parametrize("route", [by_app, by_router, by_mounted_app, by_add_route])
@pytest.mark.parametrize("options", [None, {}, {"record": True}])
@pytest.mark.parametrize("plain", [True, False])
def test_reversed_decorators(route, options, plain):
    app = FastAPI()
    install(app)
    decorate = dual_mode if options is None else dual_mode(**options)
    if plain:

        @decorate
        @route(app)
        def items() -> Iterator[int]:
            yield 1
    else:

        @decorate
        @route(app)
        async def items() -> AsyncIterator[int]:
            yield 1

    (message,) = started(app)
    assert "/x serves " in message
    assert "put @dual_mode below the decorator of the route" in message
    assert items is not None


def test_a_generator_that_is_served_by_fastapi_alone_is_its_users_choice():
    app = FastAPI()
    install(app)

    @app.get("/lines")
    async def items() -> AsyncIterator[int]:
        yield 1

    @app.get("/other")
    async def other() -> AsyncIterator[int]:
        yield 1

    app.get("/all-modes")(dual_mode(items))
    assert not started(app)


def session() -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        yield connection


async def async_session() -> AsyncIterator[str]:
    yield "session"


def service(of: Annotated[sqlite3.Connection, Depends(session)]) -> object:
    return object()


class Service:
    def __init__(self, of: Annotated[str, Depends(async_session)]) -> None: ...


class Sessions:
    def __call__(self) -> Iterator[int]:
        yield 1


def settings() -> dict[str, int]:
    return {}


ENDING = [
    *(session, async_session, service, Service, Sessions()),
    functools.partial(session),
]


@pytest.mark.parametrize("dependency", ENDING, ids=range(len(ENDING)))
@pytest.mark.parametrize("recorded", [True, False])
def test_a_value_that_ends_before_a_recording(dependency, recorded):
    app = FastAPI()
    install(app)

    @app.get("/x")
    @dual_mode(record=recorded)
    async def items(of: Annotated[Any, Depends(dependency)]) -> AsyncIterator[int]:
        yield 1

    messages = started(app)
    assert len(messages) == recorded
    if recorded:
        assert "(parameter 'of' of GET /x) ends with its request" in messages[0]
        assert "open it in the generator" in messages[0]


def test_a_value_that_ends_before_the_generator_starts():
    app = FastAPI()
    install(app)

    @app.get("/x")
    @dual_mode
    async def items(
        of: Annotated[sqlite3.Connection, Depends(session, scope="function")],
    ) -> AsyncIterator[int]:
        yield 1

    (message,) = started(app)
    assert "session (parameter 'of' of GET /x) has ended when the generator starts" in message


def test_dependencies_whose_values_the_generator_does_not_get():
    app = FastAPI(dependencies=[Depends(session)])
    install(app)
    router = APIRouter(dependencies=[Depends(async_session)])

    @router.get("/x", dependencies=[Depends(service)])
    @dual_mode(record=True)
    async def items(of: Annotated[Any, Depends(settings)]) -> AsyncIterator[int]:
        yield 1

    app.include_router(router)
    assert not started(app)


def recorded_app() -> FastAPI:
    app = FastAPI()
    install(app)

    @app.get("/x")
    @dual_mode(record=True)
    async def items(of: Annotated[Any, Depends(session)]) -> AsyncIterator[int]:
        yield 1

    return app


def test_the_warning_says_how_it_is_ignored():
    (message,) = started(recorded_app())
    call = message.rpartition("with ")[2]
    with warnings.catch_warnings():
        eval(call, {"warnings": warnings})
        with TestClient(recorded_app()) as client:  # every other warning would be an error
            assert client.get("/x").json() == {"data": [1]}
