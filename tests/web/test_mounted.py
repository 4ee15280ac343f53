"""Apps within apps: each keeps the options of its own `install`, and all end with the outer one."""

import asyncio
import json
import logging
import signal
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Host, Mount

from dual_mode_streaming import Admission, Observer, drain, dual_mode, install
from dual_mode_streaming.stores import MemoryStore
from dual_mode_streaming.testing import StreamingTransport
from dual_mode_streaming.web._app_state import app_state

from .servers import started

EVENTS = {"accept": "text/event-stream"}


async def failing() -> AsyncIterator[int]:
    yield 1
    raise ValueError("no")


def sub_of(**options: Any) -> FastAPI:
    sub = FastAPI()
    install(sub, **options)
    sub.get("/plain")(dual_mode(failing))
    sub.get("/rec")(dual_mode(record=True)(failing))
    return sub


def by_mount(outer: FastAPI, sub: Any) -> None:
    outer.mount("/sub", sub)


def by_nested_mounts(outer: FastAPI, sub: Any) -> None:
    outer.router.routes.append(Mount("/sub", routes=[Mount("", app=sub)]))


def by_wrapped_mount(outer: FastAPI, sub: Any) -> None:
    outer.mount("/sub", GZipMiddleware(sub))


def by_router(outer: FastAPI, sub: Any) -> None:
    router = APIRouter()
    router.mount("/sub", sub)
    outer.include_router(router)


def by_host(outer: FastAPI, sub: Any) -> None:
    outer.router.routes.append(Host("testserver", app=Mount("/sub", app=sub)))


def by_app_between(outer: FastAPI, sub: Any) -> None:
    between = FastAPI()
    between.mount("/", sub)
    outer.mount("/sub", between)


WAYS = [by_mount, by_nested_mounts, by_wrapped_mount, by_router, by_host, by_app_between]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", ["/sub/plain", "/sub/rec"])
def test_the_options_are_those_of_the_mounted_app(way, path):
    outer, store = FastAPI(), MemoryStore()
    install(outer, error_event="outer", store=store)
    sub = sub_of(error_event="failure")
    outer.get("/own")(dual_mode(failing))
    way(outer, sub)
    for _ in 1, 2:
        with TestClient(outer) as http:
            answer = http.get(path, headers=EVENTS)
            assert "event: failure" in answer.text
            assert "event: outer" in http.get("/own", headers=EVENTS).text
            if path == "/sub/rec":
                location = answer.headers["location"]
                assert location.startswith("/sub/streams/")
                assert "event: failure" in http.get(location, headers=EVENTS).text
                assert not store._streams


class Seen(Observer):
    def __init__(self) -> None:
        self.ends: list[str] = []

    def ended(self, answer: Any) -> None:
        self.ends.append(answer.route)


def test_observers_and_limits_of_both_apps_count(caplog):
    caplog.set_level(logging.INFO)
    seen, shared = [Seen(), Seen()], Admission(streams=1)
    outer = FastAPI()
    install(outer, observers=[seen[0]], admission=shared)
    outer.mount("/sub", sub_of(observers=seen, admission=shared))
    assert TestClient(outer).get("/sub/plain", headers=EVENTS).status_code == 200
    assert [len(one.ends) for one in seen] == [1, 1]
    assert len([each for each in caplog.records if "ended:" in each.message]) == 1
    full = FastAPI()
    install(full)
    full.mount("/sub", sub_of(admission=Admission(streams=1)))
    for _ in 1, 2:  # the first has left its slot
        http = TestClient(full, raise_server_exceptions=False)
        assert http.get("/sub/plain").status_code == 500


async def test_a_drain_of_the_outer_app_ends_the_streams_of_the_mounted_one():
    outer, sub = FastAPI(), FastAPI()
    install(outer)
    install(sub)

    @sub.get("/waits")
    @dual_mode
    async def waits() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    outer.mount("/sub", sub)
    transport = StreamingTransport(outer)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
        async with http.stream("GET", "/sub/waits", headers=EVENTS) as response:
            chunks = response.aiter_text()
            await anext(chunks)
            await drain(outer)
            assert "event: error" in "".join([chunk async for chunk in chunks])
        assert (await http.get("/sub/waits")).status_code == 503
        assert not app_state(sub).open_answers


MOUNTED_ALONE = """
import asyncio
from collections.abc import AsyncIterator
from fastapi import FastAPI
from dual_mode_streaming import dual_mode, install

sub = FastAPI()
install(sub)

@sub.get("/waits")
@dual_mode
async def waits() -> AsyncIterator[int]:
    yield 1
    await asyncio.Event().wait()

app = FastAPI()
app.mount("/sub", sub)
"""


async def test_a_signal_ends_the_streams_of_an_app_that_is_installed_alone(tmp_path):
    with started("uvicorn", MOUNTED_ALONE, tmp_path) as (process, url):
        async with httpx.AsyncClient(base_url=url, timeout=60) as http:
            async with http.stream("GET", "/sub/waits", headers=EVENTS) as response:
                chunks = response.aiter_text()
                await anext(chunks)
                process.send_signal(signal.SIGTERM)
                text = "".join([chunk async for chunk in chunks])
        await asyncio.to_thread(process.wait, 60)
    assert "event: error" in text
    assert json.loads(text.partition("data: ")[2].splitlines()[0])["status"] == 503


def test_what_is_missing_is_said_once(caplog):
    outer = FastAPI()
    outer.mount("/sub", sub_of())
    with TestClient(outer) as http:
        http.get("/sub/plain", headers=EVENTS)
        http.get("/sub/rec", headers=EVENTS)
    (said,) = [each.message for each in caplog.records if "install()" in each.message]
    assert "outer app" in said

    caplog.clear()
    outer, sub = FastAPI(), FastAPI()
    install(outer)
    sub.get("/rec")(dual_mode(record=True)(failing))
    outer.mount("/sub", sub)
    with TestClient(outer):
        pass
    (said,) = [each.message for each in caplog.records if "install()" in each.message]
    assert said.startswith("the app mounted at /sub has recorded endpoints")


def test_one_router_in_two_apps():
    router = APIRouter()
    router.get("/rec")(dual_mode(record=True)(failing))
    for prefix, name in ("/a", "first"), ("/b", "second"):
        app = FastAPI()
        install(app, error_event=name, prefix=prefix)
        app.include_router(router, prefix=prefix)
        with TestClient(app) as http:
            answer = http.get(f"{prefix}/rec", headers=EVENTS)
            assert f"event: {name}" in answer.text
            assert answer.headers["location"].startswith(f"{prefix}/")


@pytest.mark.parametrize("made", [APIRouter, Starlette, lambda: FastAPI])
def test_install_takes_an_app_of_fastapi_only(made):
    with pytest.raises(TypeError, match="install needs the FastAPI app that is served, not this"):
        install(made())


def test_a_second_install_on_one_app_is_refused_in_one_line():
    app = FastAPI()
    install(app)
    with pytest.raises(RuntimeError, match="once is enough") as caught:
        install(app)
    assert "\n" not in str(caught.value)
