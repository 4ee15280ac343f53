"""Headers of others on our answers: what is given twice is sent twice, in every kind of answer."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.testclient import TestClient
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from dual_mode_streaming import DualModeResponse, Problem, dual_mode, install
from dual_mode_streaming.streams import stream_content

KINDS = ["application/json", "text/event-stream", "application/jsonl"]
REPEATED = [
    ("Set-Cookie", "a=1; Path=/"),
    ("Set-Cookie", "b=2; Path=/"),
    ("Link", "</a>; rel=next"),
    ("Link", "</b>; rel=prev"),
    ("Server-Timing", "db;dur=1"),
    ("Server-Timing", "cpu;dur=2"),
    ("WWW-Authenticate", "Basic"),
    ("WWW-Authenticate", "Bearer"),
    ("X-Whatever", "1"),
    ("X-Whatever", "2"),
]
TWICE = MutableHeaders(raw=[(name.lower().encode(), value.encode()) for name, value in REPEATED])


def set_all(response: Response) -> None:
    for name, value in REPEATED:
        response.headers.append(name, value)


def expect_all(answer: httpx.Response) -> None:
    for name in {name for name, _ in REPEATED}:
        expected = [value for key, value in REPEATED if key == name]
        assert answer.headers.get_list(name) == expected


def app_of(source: Any, *, record: bool, **route: Any) -> TestClient:
    app = FastAPI()
    install(app)
    app.get("/", **route)(dual_mode(record=record)(source))
    return TestClient(app)


async def by_the_endpoint(response: Response) -> AsyncIterator[int]:
    set_all(response)
    yield 1


async def by_a_dependency() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("accept", KINDS)
@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_headers_of_a_dependency_are_sent_as_often_as_they_were_set(accept, record, method):
    app = FastAPI()
    install(app)
    route = app.api_route("/", methods=["GET", "HEAD"], dependencies=[Depends(set_all)])
    route(dual_mode(record=record)(by_a_dependency))
    expect_all(TestClient(app).request(method, "/", headers={"accept": accept}))


@pytest.mark.parametrize("accept", KINDS)
def test_the_headers_that_the_endpoint_sets_are_sent_as_often(accept):
    http = app_of(by_the_endpoint, record=False)
    expect_all(http.get("/", headers={"accept": accept}))


def test_recorded_answers_of_every_status_have_the_headers_of_dependencies():
    http = app_of(by_a_dependency, record=True, dependencies=[Depends(set_all)])
    with http:
        later = http.get("/", headers={"prefer": "respond-async"})
        assert later.status_code == 202
        expect_all(later)
        events = http.get("/", headers={"accept": "text/event-stream"})
        last = [line for line in events.text.splitlines() if line.startswith("id: ")][-1][4:]
        for cursor, status in ((last, 204), (last.rsplit(".", 1)[0] + ".1", 200)):
            headers = {"accept": "text/event-stream", "last-event-id": cursor}
            again = http.get("/", headers=headers)
            assert again.status_code == status
            expect_all(again)


@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize("kind", [HTTPException, Problem])
@pytest.mark.parametrize("accept", KINDS)
@pytest.mark.parametrize("given", [TWICE, Headers(raw=TWICE.raw)])
def test_the_headers_of_a_refusal_are_sent_as_often(record, kind, accept, given):
    async def refused() -> AsyncIterator[int]:
        raise kind(401, "no", headers=given)
        yield 1

    answer = app_of(refused, record=record).get("/", headers={"accept": accept})
    assert answer.status_code == 401
    expect_all(answer)
    assert answer.headers.get_list("vary") == ["Accept"]


def test_headers_that_a_problem_was_given_are_not_in_its_recorded_event():
    async def refused() -> AsyncIterator[int]:
        yield 1
        raise Problem(429, "no", headers={"www-authenticate": "Basic"}, retry_after=2.2)

    http = app_of(refused, record=True)
    told = http.get("/", headers={"accept": "text/event-stream"}).text
    assert '"retry_after":"3"' in told
    assert "Basic" not in told


async def test_retry_after_is_whole_seconds():
    for given, sent in ((0.2, "1"), (1, "1"), (-3, "0"), (1e7, "10000000"), (1e-9, "1")):
        headers = Problem(503, retry_after=given).headers
        assert headers["retry-after"] == sent


@pytest.mark.parametrize("accept", KINDS)
@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ([], "Accept"),
        (["Cookie", "X-Tenant"], "Cookie, X-Tenant, Accept"),
        (["Cookie, accept", "Origin"], "Cookie, accept, Origin"),
        (["Origin", "*"], "*"),
        (["Cookie", "cookie"], "cookie, Accept"),
    ],
)
def test_vary_is_merged_without_loss(accept, given, sent):
    async def varies(response: Response) -> AsyncIterator[int]:
        for value in given:
            response.headers.append("Vary", value)
        yield 1

    answer = app_of(varies, record=False).get("/", headers={"accept": accept})
    (vary,) = answer.headers.get_list("vary")
    assert sorted(vary.lower().split(", ")) == sorted(sent.lower().split(", "))


@pytest.mark.parametrize("accept", KINDS)
def test_vary_of_middlewares_and_of_the_response_add_up(accept):
    app = FastAPI()
    install(app)
    app.add_middleware(CORSMiddleware, allow_origins=["https://a"], allow_credentials=True)
    app.add_middleware(GZipMiddleware)

    @app.middleware("http")
    async def tenant(request: Request, call_next: Any) -> Response:
        response = await call_next(request)
        response.headers.append("Vary", "X-Tenant")
        response.set_cookie("c", "3")
        return response

    @app.get("/")
    async def direct() -> Response:
        return DualModeResponse(stream_content([1]), headers=Headers(raw=[(b"vary", b"Cookie")]))

    answer = TestClient(app).get("/", headers={"accept": accept, "origin": "https://a"})
    (vary,) = answer.headers.get_list("vary")
    assert {"cookie", "origin", "accept", "x-tenant"} <= set(vary.lower().split(", "))
    assert answer.headers["set-cookie"].startswith("c=3")


@pytest.mark.parametrize("accept", KINDS)
def test_headers_of_the_response_and_of_the_endpoint_add_up_only_where_they_are_lists(accept):
    app = FastAPI()

    @app.get("/")
    async def direct(response: Response) -> Response:
        response.headers["link"] = "</b>"
        response.headers["cache-control"] = "private"
        response.headers["content-type"] = "text/plain"
        given = {"link": "</a>", "etag": '"1"', "cache-control": "no-cache", "x-one": "1"}
        return DualModeResponse(stream_content([1]), headers=given, injected=response)

    answer = TestClient(app).get("/", headers={"accept": accept})
    assert answer.headers.get_list("link") == ["</a>", "</b>"]
    assert answer.headers.get_list("cache-control") == ["private"]
    assert answer.headers["content-type"].startswith(accept)
    assert (answer.headers["etag"], answer.headers["x-one"]) == ('"1"', "1")


def test_events_say_their_charset_and_json_needs_none():
    async def city() -> AsyncIterator[str]:
        yield "Zürich"

    http = app_of(city, record=False)
    types = [http.get("/", headers={"accept": accept}).headers["content-type"] for accept in KINDS]
    assert types == ["application/json", "text/event-stream; charset=utf-8", "application/jsonl"]


@pytest.mark.parametrize(
    ("options", "exposed"),
    [
        ({}, "Location"),
        ({"expose_headers": ["X-Mine"]}, "X-Mine, Location"),
        ({"expose_headers": ["location"]}, "location"),
        ({"expose_headers": ["*"]}, "*"),
        ({"expose_headers": ["*"], "allow_credentials": True}, "*, Location"),
    ],
)
@pytest.mark.parametrize("accept", KINDS)
def test_scripts_of_other_origins_can_read_where_a_stream_is(options, exposed, accept):
    app = FastAPI()
    install(app)
    app.add_middleware(CORSMiddleware, allow_origins=["https://a"], **options)
    app.get("/")(dual_mode(record=True)(by_a_dependency))
    headers = {"origin": "https://a", "accept": accept}
    answer = TestClient(app).get("/", headers=headers)
    assert answer.headers.get_list("access-control-expose-headers") == [exposed]
    assert "access-control-expose-headers" not in TestClient(app).get("/").headers


def test_retry_after_is_exposed_too():
    async def refused() -> AsyncIterator[int]:
        raise Problem(429, retry_after=2)
        yield 1

    http = app_of(refused, record=False)
    answer = http.get("/", headers={"origin": "https://a"})
    assert answer.headers["access-control-expose-headers"] == "Retry-After"
