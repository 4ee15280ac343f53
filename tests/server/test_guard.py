"""Who is not let in has no body parsed."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

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
