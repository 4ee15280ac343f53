"""The user's routes and ours: theirs win, ours exist where something is recorded, at any path."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Route
from starlette.staticfiles import StaticFiles

from dual_mode_streaming import dual_mode, install

UNKNOWN = "0" * 32
EVENTS = {"accept": "text/event-stream"}


async def numbers() -> AsyncIterator[int]:
    yield 1
    yield 2


def theirs(path: str = "") -> str:
    return "theirs"


def asgi_of(text: str) -> Any:
    async def endpoint(request: Request) -> PlainTextResponse:
        return PlainTextResponse(text)

    return endpoint


def by_decorator(app: FastAPI, path: str) -> None:
    app.get(path)(theirs)


def by_router(app: FastAPI, path: str) -> None:
    router = APIRouter()
    router.get(path)(theirs)
    app.include_router(router)


def by_nested_router(app: FastAPI, path: str) -> None:
    inner, outer = APIRouter(), APIRouter(prefix="/" + path.split("/")[1])
    inner.get("/" + path.split("/", 2)[2])(theirs)
    outer.include_router(inner)
    app.include_router(outer)


def by_starlette(app: FastAPI, path: str) -> None:
    app.router.routes.append(Route(path, asgi_of("theirs")))


def by_mount(app: FastAPI, path: str) -> None:
    app.mount("/streams", Starlette(routes=[Route("/{x:path}", asgi_of("theirs"))]))


def by_mount_at_the_root(app: FastAPI, path: str) -> None:
    app.mount("/", Starlette(routes=[Route("/streams/{x}", asgi_of("theirs"))]))


def by_host(app: FastAPI, path: str) -> None:
    inner = Starlette(routes=[Route("/streams/{x}", asgi_of("theirs"))])
    app.router.routes.append(Host("testserver", app=inner))


WAYS = [
    *(by_decorator, by_router, by_nested_router, by_starlette, by_mount, by_mount_at_the_root),
    by_host,
]


def app_of(add: Any, *, installed_first: bool, record: bool, **options: Any) -> FastAPI:
    app = FastAPI()
    if installed_first:
        install(app, **options)
    app.get("/rec")(dual_mode(record=record)(numbers))
    add(app)
    if not installed_first:
        install(app, **options)
    return app


@pytest.mark.parametrize("installed_first", [True, False])
@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("add", WAYS)
def test_a_route_of_the_user_wins_and_a_shadowed_one_is_warned_of(
    add, record, installed_first, caplog
):
    app = app_of(
        lambda app: add(app, "/streams/{stream}"), installed_first=installed_first, record=record
    )
    with TestClient(app) as http:
        assert "theirs" in http.get(f"/streams/{UNKNOWN}").text
        assert "theirs" in http.get("/streams/any").text
        if record:
            location = http.get("/rec").headers["location"]
            assert "theirs" in http.get(location).text
    warned = [each.message for each in caplog.records if "prefix=" in each.message]
    if add is not by_host:  # which host a request will name is not known at the start
        assert any("GET /streams/{stream}" in each for each in warned) is record


@pytest.mark.parametrize("installed_first", [True, False])
def test_with_another_prefix_both_work(installed_first, caplog):
    app = app_of(
        lambda app: by_decorator(app, "/streams/{stream}"),
        installed_first=installed_first,
        record=True,
        prefix="/api/recorded",
    )
    with TestClient(app) as http:
        assert http.get("/streams/1").json() == "theirs"
        location = http.get("/rec").headers["location"]
        assert location.startswith("/api/recorded/")
        assert http.get(location).json() == {"data": [1, 2]}
        assert http.post(f"{location}/cancel").json()["state"] == "done"
        stream = location.rpartition("/")[2]
        assert app.url_path_for("read_stream", stream=stream) == location
    assert not [each for each in caplog.records if "prefix=" in each.message]
    paths = list(app.openapi()["paths"])
    assert paths[-2:] == ["/api/recorded/{stream}", "/api/recorded/{stream}/cancel"]


def spa(app: FastAPI, folder: Any) -> None:
    app.get("/{path:path}")(theirs)


def spa_router(app: FastAPI, folder: Any) -> None:
    by_router(app, "/{path:path}")


def static_files(app: FastAPI, folder: Any) -> None:
    (folder / "index.html").write_text("theirs")
    app.mount("/", StaticFiles(directory=folder, html=True))


@pytest.mark.parametrize("installed_first", [True, False])
@pytest.mark.parametrize("catch_all", [spa, spa_router, static_files])
def test_what_catches_every_path_has_all_but_recorded_streams(catch_all, installed_first, tmp_path):
    app = app_of(lambda app: catch_all(app, tmp_path), installed_first=installed_first, record=True)
    with TestClient(app) as http:
        assert "theirs" in http.get("/").text
        assert http.get("/streams").status_code == http.get("/other").status_code
        location = http.get("/rec").headers["location"]
        assert http.get(location).json() == {"data": [1, 2]}
        assert http.get(location, headers=EVENTS).text.count("data:") == 3
    plain = app_of(
        lambda app: catch_all(app, tmp_path), installed_first=installed_first, record=False
    )
    with TestClient(plain) as http:
        status = http.get("/other").status_code
        assert http.get(f"/streams/{UNKNOWN}").status_code == status


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_another_method_of_the_user_does_not_hide_ours(method):
    app = FastAPI()
    install(app)
    app.api_route("/streams/{name}", methods=[method])(theirs)
    app.get("/rec")(dual_mode(record=True)(numbers))
    with TestClient(app) as http:
        assert http.request(method, f"/streams/{UNKNOWN}").json() == "theirs"
        assert http.get(http.get("/rec").headers["location"]).json() == {"data": [1, 2]}


def test_the_document_has_the_operations_that_answer():
    app = FastAPI()
    install(app)
    app.get("/rec")(dual_mode(record=True)(numbers))
    app.get("/streams/{stream}", summary="Mine")(theirs)
    app.get("/last")(theirs)
    paths = app.openapi()["paths"]
    assert paths["/streams/{stream}"]["get"]["summary"] == "Mine"
    assert set(paths["/streams/{stream}"]) == {"get", "delete"}
    assert list(paths)[-1] == "/streams/{stream}/cancel"
    assert "x-dual-mode" not in str(paths)

    other = FastAPI()
    install(other)
    other.get("/rec")(dual_mode(record=True)(numbers))
    other.get("/streams/{name}")(theirs)
    paths = other.openapi()["paths"]
    assert set(paths["/streams/{name}"]) == {"get"}
    assert set(paths["/streams/{stream}"]) == {"delete"}


@pytest.mark.parametrize("prefix", ["streams", "/", "", "/streams/", "/{x}", "//a", "/ä", "/a b"])
def test_a_prefix_that_is_no_path_is_refused(prefix):
    with pytest.raises(ValueError, match="such as /streams"):
        install(FastAPI(), prefix=prefix)


class Proxy:
    """Sets the root path as a proxy and its server do, with or without it in the path."""

    def __init__(self, app: Any, root: str, *, strips: bool) -> None:
        self.app, self.root, self.strips = app, root, strips

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            path = scope["path"] if self.strips else self.root + scope["path"]
            scope = {**scope, "root_path": self.root, "path": path}
        await self.app(scope, receive, send)


@pytest.mark.parametrize("root", ["", "/", "/api", "/api/", "/rec", "/r"])
@pytest.mark.parametrize("path", ["/rec", "/recordings", "/apikeys", "/api/x"])
@pytest.mark.parametrize("strips", [True, False])
@pytest.mark.parametrize("mounted", [False, True])
def test_a_root_path_is_removed_by_segments(root, path, strips, mounted):
    app = FastAPI()
    install(app)
    app.get(path)(dual_mode(record=True)(numbers))
    app.put(path)(theirs)
    served = app
    if mounted:
        served = FastAPI()
        install(served)
        served.mount("/sub", app)
    sub = "/sub" if mounted else ""
    http = TestClient(Proxy(served, root, strips=strips))
    if http.put(sub + path).status_code != 200:
        return  # Starlette does not find a plain route either
    answer = http.get(sub + path)
    assert answer.status_code == 200, answer.text
    location = answer.headers["location"]
    assert location.startswith(f"{root.rstrip('/')}{sub}/streams/")
    assert http.get(location.removeprefix(root.rstrip("/"))).json() == {"data": [1, 2]}


@pytest.mark.parametrize("root", ["/api", "/api/", "/r"])
def test_fastapis_own_root_path(root):
    app = FastAPI()
    app.root_path = root  # FastAPI(root_path=root), without its warning
    install(app)
    app.get("/rec")(dual_mode(record=True)(numbers))
    answer = TestClient(app).get("/rec")
    assert answer.headers["location"].startswith(f"{root.rstrip('/')}/streams/")


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize(
    ("root", "shown"),
    [
        ("api", "/api"),
        ("api/", "/api"),
        ("/api//", "/api"),
        ("//api///v1", "/api/v1"),
        ("/", ""),
        ("//", ""),
        ("", ""),
        ("/ä b", "/%C3%A4%20b"),
        ("日本", "/%E6%97%A5%E6%9C%AC"),
        ("/a%20b", "/a%20b"),
    ],
)
def test_a_location_is_absolute_however_the_root_path_is_written(root, shown, fixed):
    app = FastAPI()
    install(app)
    app.get("/rec")(dual_mode(record=True)(numbers))
    if fixed:
        app.root_path = root
    served = app if fixed else Proxy(app, root, strips=True)
    location = TestClient(served).get("/rec").headers["location"]
    assert re.fullmatch(f"{shown}/streams/[0-9a-f]{{32}}", location)
