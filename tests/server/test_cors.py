"""`DUAL_MODE_CORS_ORIGINS`: pages of these origins, and of no others, may read the answers."""

from collections.abc import AsyncIterator

import httpx
import pytest

from dual_mode_streaming import dual_mode
from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.settings import Settings, SettingsError, load
from dual_mode_streaming.testing import StreamingTransport

APP = "https://app.example"
KEY = {"Authorization": "Bearer the-page-s-key"}
HELLO = {"messages": "Hello"}


def client(**settings) -> httpx.AsyncClient:
    settings = {"cors_origins": f"{APP}, http://localhost:5173", **settings}
    app = create_app(Settings(llm={"first": 0, "rate": 0}, **settings))
    return httpx.AsyncClient(transport=StreamingTransport(app), base_url="http://test")


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/chat", "content-type,idempotency-key,prefer,authorization"),
        ("GET", "/streams/" + "0" * 32, "last-event-id"),
        ("POST", "/streams/" + "0" * 32 + "/cancel", "authorization"),
        ("DELETE", "/streams/" + "0" * 32, "authorization"),
        ("POST", "/tokens", "content-type"),
        ("POST", "/v1/chat/completions", "authorization,content-type,x-stainless-lang"),
        ("POST", "/v1/messages", "x-api-key,anthropic-version"),
        ("GET", "/data", "last-event-id"),
    ],
)
@pytest.mark.parametrize("origin", [APP, "http://localhost:5173"])
async def test_a_preflight_is_answered_without_a_key(method, path, headers, origin):
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }
    async with client(api_keys="the-page-s-key") as http:
        answer = await http.options(path, headers=asked)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == origin
        assert method in answer.headers["access-control-allow-methods"]
        allowed = answer.headers["access-control-allow-headers"].lower().replace(" ", "")
        assert set(headers.split(",")) <= set(allowed.split(","))
        assert "access-control-allow-credentials" not in answer.headers
        other = await http.options(path, headers=asked | {"Origin": "https://evil.example"})
        assert other.status_code == 400
        assert "access-control-allow-origin" not in other.headers


async def test_each_answer_can_be_read_and_the_location_too():
    async with client(api_keys="the-page-s-key", body_limit=1000) as http:
        asked = {"headers": KEY | {"Origin": APP}}
        answers = [
            answer := await http.post("/chat?stream=true", json=HELLO, **asked),
            await http.get(answer.headers["location"], **asked),
            await http.get("/streams/" + "0" * 32, **asked),
            await http.get("/nothing", **asked),
            await http.put("/data", **asked),
            await http.post("/chat", json=HELLO, headers={"Origin": APP}),
            await http.post("/chat", json={}, **asked),
            await http.post("/chat", json={"messages": "x" * 2000}, **asked),
            await http.get("/data", headers={"Accept": "image/png", "Origin": APP}),
        ]
        statuses = [answer.status_code for answer in answers]
        assert statuses == [200, 200, 404, 404, 405, 401, 422, 413, 406]
        for answer in answers:
            assert answer.headers["access-control-allow-origin"] == APP
            assert "origin" in answer.headers["vary"].lower()
        assert "Location" in answers[0].headers["access-control-expose-headers"]
        other = await http.get("/data?count=1", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


async def test_a_failure_and_a_refusal_at_the_door_can_be_read():
    app = create_app(Settings(cors_origins=APP))

    @app.get("/broken")
    @dual_mode
    async def broken() -> AsyncIterator[int]:
        raise ValueError
        yield 1

    transport = StreamingTransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        long = {"Last-Event-ID": "x" * 2000}
        for path, more, status in [("/broken", {}, 500), ("/data", long, 400)]:
            answer = await http.get(path, headers={"Origin": APP, **more})
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == APP


async def test_all_origins():
    async with client(cors_origins="*") as http:
        answer = await http.get("/data?count=1", headers={"Origin": "https://any.example"})
        assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    "value",
    [
        *("app.example", f"{APP}/", f"{APP}/path", "", f"{APP},", "https://", "https://*.example"),
        *("HTTPS://App.example", "null", f"{APP}?x", "https://user@app.example", "https://a:b"),
    ],
)
def test_what_is_no_origin_is_refused_at_start(value, monkeypatch):
    monkeypatch.setenv("DUAL_MODE_CORS_ORIGINS", value)
    with pytest.raises(SettingsError, match=r"DUAL_MODE_CORS_ORIGINS.*https://app\.example"):
        load()


@pytest.mark.parametrize(
    "value", [APP, "http://localhost:5173", "http://[::1]:80", "capacitor://localhost", "*"]
)
def test_what_is_an_origin_is_taken(value, monkeypatch):
    monkeypatch.setenv("DUAL_MODE_CORS_ORIGINS", value)
    assert load().cors_origins == (value,)
