"""Tokens for an EventSource: for one stream, for a while, and of no use to anybody else."""

import re
import time

import httpx
import pytest
from starlette.exceptions import HTTPException

from dual_mode_streaming import EventDecoder, TokenSigner
from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.settings import Settings
from dual_mode_streaming.testing import StreamingTransport

MINE, OTHER = ({"Authorization": f"Bearer {key}"} for key in ("mine-one-1", "other-two-2"))
STREAM = {"Accept": "text/event-stream"}
HELLO = {"messages": [{"role": "user", "content": "Hello"}]}
SECRET = "not to be guessed"


def client_of(llm_rate=0, **settings) -> httpx.AsyncClient:
    llm = {"first": 0, "rate": llm_rate}
    settings = {"llm": llm, "api_keys": "mine-one-1,other-two-2", **settings}
    transport = StreamingTransport(create_app(Settings(**settings)))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def recorded(http: httpx.AsyncClient) -> str:
    """The path of a chat of mine."""
    answer = await http.post("/chat", json=HELLO, headers=MINE)
    return answer.headers["location"]


async def token_for(http: httpx.AsyncClient, path: str, headers=MINE) -> str:
    answer = await http.post("/tokens", json={"path": path}, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()["access_token"]


async def test_a_token_reads_the_stream_that_it_is_for():
    async with client_of() as http:
        path = await recorded(http)
        assert (await http.get(path, headers=STREAM)).status_code == 404, "not without a key"
        token = await token_for(http, path)
        answer = await http.get(path, params={"access_token": token}, headers=STREAM)
        events = EventDecoder().feed(answer.content)
        assert events[-1].event == "done"
        assert events[-1].id
        assert "mine-one-1" not in token


async def test_a_token_is_of_no_use_for_anything_else():
    async with client_of() as http:
        mine, another = await recorded(http), await recorded(http)
        token = {"access_token": await token_for(http, mine)}
        for method, path in [
            ("GET", another),
            ("POST", f"{mine}/cancel"),
            ("DELETE", mine),
            ("DELETE", another),
        ]:
            answer = await http.request(method, path, params=token, headers=STREAM)
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        for path in ("/chat", "/tokens"):
            answer = await http.post(path, params=token, json={**HELLO, "path": mine})
            assert answer.status_code == 401


async def test_a_token_for_another_s_stream_does_not_work():
    async with client_of() as http:
        path = await recorded(http)
        token = await token_for(http, path, OTHER)
        answer = await http.get(path, params={"access_token": token}, headers=STREAM)
        assert answer.status_code == 404


@pytest.mark.parametrize("bad", ["", "x", "a.b.c", "Ä.ö.ü", "x" * 5_000, "WyIiXQ.aQ.x"])
async def test_what_is_no_token_is_refused(bad):
    async with client_of() as http:
        path = await recorded(http)
        token = await token_for(http, path)
        changed = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
        for shown in (bad, changed, f"{token} "):
            answer = await http.get(path, params={"access_token": shown}, headers=STREAM | MINE)
            assert answer.status_code == 401
        foreign = TokenSigner("another secret, as long").sign("", path)
        assert (await http.get(path, params={"access_token": foreign})).status_code == 401


@pytest.mark.parametrize("path", ["/chat", "/streams/x", "streams/" + "0" * 32, "//evil/streams"])
async def test_a_token_is_only_for_streams(path):
    async with client_of() as http:
        answer = await http.post("/tokens", json={"path": path}, headers=MINE)
        assert answer.status_code == 422
    async with client_of() as http:
        answer = await http.post("/tokens", json={"path": "/streams/" + "0" * 32})
        assert answer.status_code == 401


async def test_the_stream_ends_with_its_token():
    async with client_of(llm_rate=0.5, token_seconds=2) as http:
        asked = {"json": {**HELLO, "stream": True}, "headers": MINE}
        async with http.stream("POST", "/chat", **asked) as chat:
            path = chat.headers["location"]
            token = {"access_token": await token_for(http, path)}
            async with http.stream("GET", path, params=token, headers=STREAM) as answer:
                assert answer.status_code == 200
                body = (await answer.aread()).decode()
        assert re.search(r"\nretry: \d+\n+$", body), "it comes again, and hears why it may not"
        assert "event: " not in body, "the recording has not ended"
        late = await http.get(path, params=token, headers=STREAM)
        assert late.status_code == 401
        assert "expired" in late.text


def test_a_secret_can_be_replaced_without_losing_a_stream():
    old, new = "the old secret, long", "the new secret, long"
    token = TokenSigner(old).sign("me", "/streams/1")
    assert TokenSigner([old, new]).read(token, "/streams/1").subject == "me"
    fresh = TokenSigner([old, new]).sign("me", "/streams/1")
    assert TokenSigner(new).read(fresh, "/streams/1").subject == "me"
    with pytest.raises(HTTPException):
        TokenSigner(new).read(token, "/streams/1")


def test_a_secret_that_could_be_guessed_is_refused():
    for bad in ("", "short", ["long enough to be one", "short"], []):
        with pytest.raises(ValueError, match="at least 16 characters"):
            TokenSigner(bad)
    with pytest.raises(ValueError, match="at least 1"):
        TokenSigner(SECRET, seconds=0)


def test_it_says_until_when_it_is_good():
    signer = TokenSigner(SECRET, seconds=60)
    before = time.time()
    grant = signer.read(signer.sign("me", "/x"), "/x")
    assert before + 59 <= grant.expires <= time.time() + 60  # a token has whole seconds


def test_a_token_is_in_no_log(start_service):
    running = start_service(DUAL_MODE_API_KEYS="mine-one-1")
    path = httpx.post(f"{running.url}/chat", json=HELLO, headers=MINE).headers["location"]
    asked = httpx.post(f"{running.url}/tokens", json={"path": path}, headers=MINE)
    token = asked.json()["access_token"]
    shown = {"access_token": token}
    assert httpx.get(f"{running.url}{path}", params=shown, headers=STREAM).status_code == 200
    running.stop()
    log = "".join(running.log)
    assert re.search(rf"GET {path}\?access_token=… ", log)
    assert token not in log
    assert "mine-one-1" not in log
