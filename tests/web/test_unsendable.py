"""A status or a header that no server can send is a logged 500, in every mode; it broke off."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException, Response
from starlette.datastructures import Headers

from dual_mode_streaming import Problem, dual_mode, install
from dual_mode_streaming.llm.wire import UIChat, UIMessageStream

from .asgi import get

FORMS = ["application/json", "text/event-stream", "application/jsonl"]
STATUSES: list[Any] = [99, 999, 600, 0, -1, 100, 103, 199, True, None, "404", 404.5]
HEADERS: list[Any] = [
    *({"x-a": value} for value in ("a\r\nx-b: c", "a\nb", "a\0b", "\x7f", "€", "\ud800", 5, None)),
    *({name: "a"} for name in ("x-a\r\nx-b", "x a", "x:a", "", "x-€", 5)),
    [("x-a", "b")],
]
MESSAGE = {"id": "m", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}
OPTIONS = ["plain", "recorded", "folded"]
WRONG = [
    *(HTTPException(status, "why") for status in STATUSES),
    *(HTTPException(409, "why", headers) for headers in HEADERS),
    Problem(999, "why"),
    Problem(409, "why", headers={"x-a": "a\r\nb"}),
    Problem(409, "why", headers=Headers({"x-a": "a\r\nb"})),
]


async def as_usual(items: Any) -> list[Any]:
    return [item async for item in items]


def of_chat(source: Any) -> Any:
    def chat(body: UIChat) -> AsyncIterator[Any]:
        return source()

    return chat


def app_of(error: Exception, **options: Any) -> FastAPI:
    app = FastAPI()
    install(app, store="memory")

    async def failing() -> AsyncIterator[int]:
        raise error
        yield 1

    if "wire" in options:
        app.post("/")(dual_mode(**options)(of_chat(failing)))
    else:
        app.get("/")(dual_mode(**options)(failing))

    return app


@pytest.mark.parametrize("options", [{}, {"record": True}, {"fold": as_usual}], ids=OPTIONS)
@pytest.mark.parametrize("form", FORMS)
async def test_what_cannot_be_sent_is_a_logged_500(form: str, options: Any, caplog: Any) -> None:
    for error in WRONG:
        caplog.clear()
        app = app_of(error, **options)
        async with app.router.lifespan_context(app):
            answer = await get(app, accept=form)
        assert answer.status == 500, error
        assert answer.headers["content-type"] == "application/problem+json"
        assert json.loads(answer.body)["status"] == 500
        assert "cannot be sent" in caplog.text


@pytest.mark.parametrize("record", [False, True])
async def test_so_it_is_in_a_wire_format(record: bool) -> None:
    for error in WRONG:
        app = app_of(error, wire=UIMessageStream(), record=record)
        async with app.router.lifespan_context(app):
            body = json.dumps({"id": "c", "messages": [MESSAGE]}).encode()
            json_ = [("content-type", "application/json")]
            answer = await get(app, method="POST", accept=None, headers=json_, body=[body])
        assert answer.status == 500, (error, answer.body)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("status", [200, 204, 205, 304, 302, 409, 599])
async def test_what_can_be_sent_is_sent_without_headers_of_framing(status: int, form: str) -> None:
    framing = {"content-length": "999", "transfer-encoding": "chunked", "x-a": "b"}
    app = app_of(HTTPException(status, "why", framing))
    async with app.router.lifespan_context(app):
        answer = await get(app, accept=form)
    assert answer.status == status
    assert answer.headers["x-a"] == "b"
    assert "transfer-encoding" not in answer.headers
    assert answer.headers.get("content-length", str(len(answer.body))) == str(len(answer.body))


@pytest.mark.parametrize("form", FORMS)
async def test_so_it_is_with_the_response_of_the_endpoint(form: str) -> None:
    def status(response: Response) -> None:
        response.status_code = 999

    def header(response: Response) -> None:
        response.headers["x-a"] = "a\r\nb"

    for set_wrong in (status, header):
        app = FastAPI()
        install(app, store="memory")

        @app.get("/")
        @dual_mode
        async def endpoint(response: Response):
            set_wrong(response)  # noqa: B023
            yield 1

        async with app.router.lifespan_context(app):
            with pytest.raises(ValueError, match=r"999|control character"):
                await get(app, accept=form)
