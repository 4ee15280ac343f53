"""API keys and their limits, in every wire format: refused in it, and released."""

import contextlib
import logging

import anthropic
import httpx
import openai
import pytest
from starlette.requests import Request

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.limits import Admission, credentials
from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.settings import Settings
from dual_mode_streaming.testing import StreamingTransport, serving
from tests.llm.test_sdks import anthropic_client, openai_client

PATHS = ["/chat", "/v1/chat/completions", "/v1/messages"]
BODY = {
    "/chat": {"messages": "Hi"},
    "/v1/chat/completions": {
        "model": "simulator",
        "messages": [{"role": "user", "content": "Hi"}],
    },
    "/v1/messages": {
        "model": "simulator",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Hi"}],
    },
}


@contextlib.asynccontextmanager
async def service(llm_rate=0, **settings):
    app = create_app(Settings(llm={"first": 0, "rate": llm_rate}, **settings))
    transport = StreamingTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": "Basic first-key"}, 401),
        ({"x-api-key": ""}, 401),
        ({"x-api-key": "first-key "}, 200),
        ({"authorization": "bearer  second-key"}, 200),
        ({"x-api-key": "second-key"}, 200),
    ],
)
async def test_a_key_is_needed_if_there_are_keys(path, headers, status):
    async with service(api_keys="first-key, second-key") as client:
        response = await client.post(path, json=BODY[path], headers=headers)
        assert response.status_code == status
        if status == 401:
            assert response.headers["www-authenticate"] == "Bearer"
            assert "key is needed" in response.text
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/v1/models", headers=headers)).status_code == status


@pytest.mark.parametrize("path", PATHS)
async def test_without_keys_anybody_may_ask(path):
    async with service() as client:
        headers = {"authorization": "Bearer whatever"}
        assert (await client.post(path, json=BODY[path], headers=headers)).status_code == 200


async def test_the_sdks_see_their_own_errors():
    settings = Settings(llm={"first": 0, "rate": 0}, api_keys="right-key", key_requests_a_minute=1)
    async with serving(create_app(settings)) as url:
        question = [{"role": "user", "content": "Hi"}]
        async with openai_client(url) as client:
            with pytest.raises(openai.AuthenticationError) as raised:
                await client.chat.completions.create(model="simulator", messages=question)
            assert raised.value.code == "invalid_api_key"
            allowed = client.with_options(api_key="right-key")
            await allowed.chat.completions.create(model="simulator", messages=question)
            with pytest.raises(openai.RateLimitError) as limited:
                await allowed.chat.completions.create(model="simulator", messages=question)
            assert 50 <= int(limited.value.response.headers["retry-after"]) <= 61
        async with anthropic_client(url) as client:
            with pytest.raises(anthropic.AuthenticationError):
                await client.messages.create(model="simulator", max_tokens=9, messages=question)


@pytest.mark.parametrize("path", PATHS[1:])  # /chat is recorded, and so goes on when it is left
async def test_streams_at_a_time_are_counted_by_key_and_given_back(path):
    stream = {"accept": "text/event-stream", "x-api-key": "first-key"}
    body = {**BODY[path], "stream": True}
    async with service(api_keys="first-key,second-key", key_streams=2, llm_rate=0.001) as client:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(2):
                request = client.stream("POST", path, json=body, headers=stream)
                response = await stack.enter_async_context(request)
                await anext(response.aiter_bytes())
            refused = await client.post(path, json=body, headers=stream)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert "2 answers are under way" in refused.text
            other = {**stream, "x-api-key": "second-key"}
            request = client.stream("POST", path, json=body, headers=other)
            assert (await stack.enter_async_context(request)).status_code == 200
        again = client.stream("POST", path, json=body, headers=stream)
        async with again as response:
            assert response.status_code == 200


async def test_a_refused_request_releases_its_slot():
    async with service(key_streams=1) as client:
        for _ in range(3):
            bad = await client.post("/v1/messages", json={"model": "simulator"})
            assert bad.status_code == 400
            unknown = {**BODY["/v1/messages"], "model": "none-such"}
            assert (await client.post("/v1/messages", json=unknown)).status_code == 404
            assert (await client.post("/chat", json={"messages": []})).status_code == 422


async def test_no_key_is_in_any_log_line(caplog):
    with caplog.at_level(logging.DEBUG):
        async with service(api_keys="s3cret-one") as client:
            for key in ("s3cret-one", "s3cret-two"):
                await client.post("/chat", json=BODY["/chat"], headers={"x-api-key": key})
    assert "s3cret" not in caplog.text
    assert "s3cret" not in repr(Settings(api_keys="s3cret-one"))


async def test_odd_keys_are_just_wrong():
    scope = {"type": "http", "headers": [(b"x-api-key", b"\xff\xfe\x00")]}
    with pytest.raises(Problem, match="valid key"):
        await Admission(keys=["right-key"]).admit(Request(scope))


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({}, ""),
        ({"authorization": "Bearer  one "}, "one"),
        ({"authorization": "bearer one", "x-api-key": "two"}, "one"),
        ({"authorization": "Bearer ", "x-api-key": " two "}, "two"),
        ({"authorization": "Basic one", "x-api-key": "two"}, "two"),
        ({"authorization": "one"}, ""),
    ],
)
def test_a_key_is_read_from_one_header_or_the_other(headers, key):
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert credentials(Request({"type": "http", "headers": raw})) == key


@pytest.mark.parametrize(
    "keys",
    [[""], [" "], ["\t\n"], ["good-key-1", ""], ["1234567"], ["a good key"], ["clé-clé-clé"],
     ["good-key-1\n"], ["good\0key-1"], [None], [b"good-key-1"], ["\u00a0" * 9]],
    ids=repr,
)  # fmt: skip
def test_a_key_that_is_blank_short_or_fits_no_header_is_refused_and_not_repeated(keys):
    """No keys at all open the service: a blank one must never be as if there were none."""
    with pytest.raises(ValueError, match="at least 8 visible ASCII characters") as refused:
        Admission(keys=keys)
    assert "good" not in str(refused.value)


def test_one_text_is_no_list_of_keys():
    with pytest.raises(TypeError, match="list of API keys"):
        Admission(keys="good-key-1")
