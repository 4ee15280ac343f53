"""Who is not let in has no body parsed."""

from collections.abc import Iterator

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from dual_mode_streaming import Admission, dual_mode, install
from dual_mode_streaming.limits import guarded_route
from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.settings import Settings


@pytest.mark.parametrize("path", ["/chat", "/tokens", "/v1/messages", "/v1/chat/completions"])
def test_a_request_without_a_key_is_refused_before_its_body_is_read(path: str) -> None:

    def body() -> Iterator[bytes]:
        yield b'{"messages": ['

    app = create_app(Settings(api_keys="a-key-that-is-long-enough"))
    seen: list[str] = []

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        async def noted() -> Message:
            message = await receive()
            seen.append(message["type"])
            return message

        await app(scope, noted if scope["type"] == "http" else receive, send)

    with TestClient(noting) as client:
        answer = client.post(path, content=body(), headers={"content-type": "application/json"})
    assert answer.status_code == 401
    assert "http.request" not in seen


def app_of(**of_router) -> FastAPI:
    app, routes = FastAPI(), APIRouter(**of_router)
    install(app)

    @routes.post("/plain")
    def plain(item: dict[str, int]) -> int:
        return len(item)

    @routes.post("/dual")
    @dual_mode
    async def dual(item: dict[str, int]):
        yield len(item)

    app.include_router(routes)
    return app


KEY = "a-key-that-is-long-enough"


@pytest.mark.parametrize("path", ["/plain", "/dual"])
def test_a_guarded_route_of_a_user_parses_no_body_without_a_key(path):
    admission = Admission(keys=[KEY])
    with TestClient(app_of(route_class=guarded_route(admission.check))) as client:
        refused = client.post(path, content=b"{", headers={"content-type": "application/json"})
        assert refused.status_code == 401
        wrong = client.post(path, json={"a": "b"}, headers={"x-api-key": KEY})
        assert wrong.status_code == 422
        assert client.post(path, json={"a": 1}, headers={"x-api-key": KEY}).status_code == 200


@pytest.mark.parametrize("name", ["check", "admit", "hold"])
def test_a_key_that_is_checked_after_the_body_is_warned_of(name):
    check = getattr(Admission(keys=[KEY]), name)
    app = app_of(dependencies=[Depends(check)])
    with pytest.warns(UserWarning, match="parses its body before it asks") as warned:
        app.build_middleware_stack()
    assert len(warned) == 2
