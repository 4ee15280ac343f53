"""A body holds the event loop for as long as a small one does, whatever is in it."""

import gzip
import itertools
import json
from typing import Annotated, Any

import pytest
from fastapi import Body, FastAPI, Query, Request
from fastapi.testclient import TestClient
from pydantic import BaseModel, ConfigDict, field_validator

from dual_mode_streaming import dual_mode, install
from dual_mode_streaming.errors import Problem
from dual_mode_streaming.web._json_size import JSONSize


class Item(BaseModel):
    name: str


class Order(BaseModel):
    items: list[Item]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    price: float

    @field_validator("price")
    @classmethod
    def positive(cls, price: float) -> float:
        if price < 0:
            raise ValueError("no " * 5000)
        return price


def an_app(**options: Any) -> FastAPI:
    app = FastAPI()
    install(app, **options)

    @app.post("/dual")
    @dual_mode
    async def dual(order: Order):
        yield len(order.items)

    @app.post("/plain")
    def plain(order: Order) -> int:
        return len(order.items)

    @app.post("/any")
    def anything(value: Annotated[Any, Body()]) -> str:
        return type(value).__name__

    @app.post("/strict")
    def strict(strict: Strict, number: Annotated[list[int], Query()] = ()) -> float:  # type: ignore[assignment]
        return strict.price

    @app.post("/text")
    def text(text: Annotated[str, Body()]) -> int:
        return len(text)

    @app.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    return app


@pytest.fixture(scope="module")
def client():
    with TestClient(an_app(body_values=5000), raise_server_exceptions=False) as client:
        yield client


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("path", ["/dual", "/plain", "/any", "/raw"])
@pytest.mark.parametrize("piece", ["1", "[]", "{}", '"a"', '{"name":"a"}', "[" * 50 + "]" * 50])
def test_a_body_of_many_values_is_refused_before_it_is_parsed(client, path, piece):
    body = '{{"items": [{}]}}'.format(",".join([piece] * 5000))
    for kind in ("application/json", "application/vnd.x+json; charset=utf-8", "text/plain"):
        answer = client.post(path, content=body, headers={"content-type": kind})
        assert answer.status_code == 413
        assert answer.json()["bound"] == "body_values"


def test_a_body_of_many_names_is_refused(client):
    body = json.dumps({f"k{i}": 1 for i in range(3000)})
    assert client.post("/any", content=body, headers=JSON).status_code == 413


@pytest.mark.parametrize("text", ["Hello, world: [a], {b}; ", '\\", [{: ', "\\\\,", '""', "é,"])
def test_a_long_text_is_one_value(client, text):
    text *= 10_000
    answer = client.post("/text", content=json.dumps(text), headers=JSON)
    assert answer.json() == len(text)


@pytest.mark.parametrize("kind", ["application/octet-stream", "text/csv", "application/x-ndjson"])
def test_what_is_no_json_is_not_counted(client, kind):
    answer = client.post("/raw", content=b"1," * 10_000, headers={"content-type": kind})
    assert answer.json() == 20_000


def test_the_limit_is_an_option():
    body = '{{"items": [{}]}}'.format(",".join(['{"name":"a"}'] * 10_000))
    with TestClient(an_app(body_values=None)) as client:
        assert client.post("/plain", content=body, headers=JSON).json() == 10_000
    for wrong in (0, -1, True):
        with pytest.raises(ValueError, match="body_values must be at least 1"):
            an_app(body_values=wrong)


def counted(chunks: list[bytes]) -> int:
    """The least limit at which these chunks are not refused."""
    for limit in itertools.count():
        size = JSONSize(limit)
        try:
            for chunk in chunks:
                size.feed(chunk)
            return limit
        except Problem:
            continue
    raise AssertionError


@pytest.mark.parametrize(
    "value",
    [
        [1, [2, 3], {"a,b": "[,]"}],
        ["\\", '"', '\\"', "\\\\", ","],
        {'"\\': {'\\"': [",", '\\\\",']}},
        "a",
        [],
    ],
)
def test_the_cuts_between_chunks_do_not_matter(value):
    body = json.dumps(value).encode()
    plain = json.dumps(json.loads(body, object_pairs_hook=list), separators=(",", ":"))
    whole = counted([body])
    assert whole <= plain.count(",") + plain.count("[") + plain.count(":") + 5
    for cut in range(len(body)):
        assert counted([body[:cut], body[cut:]]) == whole
    assert counted([body[i : i + 1] for i in range(len(body))]) == whole


def test_other_encodings_hide_nothing():
    text = json.dumps(['\\"', "∀∀", *range(100)], ensure_ascii=False)
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"):
        assert counted([text.encode(encoding)]) >= 100


def test_many_errors_are_one_that_says_how_many(client):
    body = json.dumps({"items": [1] * 2000})
    for path in ("/dual", "/plain"):
        answer = client.post(path, content=body, headers=JSON)
        assert answer.status_code == 422
        (error,) = answer.json()["detail"]
        assert (error["type"], error["loc"]) == ("too_many_errors", ["body"])
        assert "2000 errors" in error["msg"]


def test_a_few_errors_are_as_fastapi_tells_them(client):
    answer = client.post("/plain", json={"items": [{"name": 1}, {}]})
    first, second = answer.json()["detail"]
    assert first["loc"] == ["body", "items", 0, "name"]
    assert first["input"] == 1
    assert second["input"] == {}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/plain", '{"x": "%s"}' % ("a" * 100_000)),
        ("/plain", '{{"x": [{}]}}'.format(",".join(["[" * 30 + "]" * 30] * 50))),
        ("/plain", '{"items": "\\ud800"}'),
        ("/plain", '{"items": NaN}'),
        ("/plain", '{"items": 1e999}'),
        ("/plain", '{"items": ' + "9" * 4000 + "}"),
        ("/strict", '{"price": 1, "\\ud800": 1}'),
        ("/strict", '{"price": 1, "%s": 1}' % ("a" * 100_000)),
        ("/strict", '{"price": -1}'),
        ("/strict?" + "&".join(["number=a"] * 3000), '{"price": 1}'),
        ("/plain", "[" * 900 + "]" * 900),
    ],
)
def test_an_error_repeats_little_of_the_input_and_never_fails(client, path, body):
    answer = client.post(path, content=body, headers=JSON)
    assert answer.status_code == 422
    assert len(answer.content) < 5000


def test_bytes_that_are_no_text_are_no_failure(client):
    answer = client.post("/plain", content=b"\xff" * 100, headers={"content-type": "text/plain"})
    assert answer.status_code == 422


def test_a_compressed_body_has_few_members_and_few_values():
    from dual_mode_streaming.llm import LLMClient, llm_routes
    from dual_mode_streaming.llm.simulator._model import Simulator

    app = FastAPI()
    install(app)
    app.include_router(llm_routes(LLMClient(Simulator()), body_values=500))
    many = json.dumps({"model": "m", "messages": [1] * 1000}).encode()
    bodies = [gzip.compress(b"") * 1000, gzip.compress(many)]
    with TestClient(app) as client:
        for body in bodies:
            headers = {"content-encoding": "gzip", **JSON}
            answer = client.post("/v1/chat/completions", content=body, headers=headers)
            assert answer.status_code == 413
            assert "more than" in answer.json()["error"]["message"]
