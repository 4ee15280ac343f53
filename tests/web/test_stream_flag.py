"""Where a client may say that it wants a stream: in the query, and in each kind of body."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

import pydantic.dataclasses
import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, Header, Query
from fastapi.testclient import TestClient
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, RootModel
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from dual_mode_streaming import dual_mode, install


class Model(BaseModel):
    stream: bool | None = None
    text: str = ""


class Aliased(BaseModel):
    wants: bool = Field(False, alias="stream")
    stream: bool = Field(False, alias="other")


class Choices(BaseModel):
    wants: bool = Field(False, validation_alias=AliasChoices("live", "stream"))


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")


class Root(RootModel[Model]): ...


@dataclass
class Data:
    stream: bool | None = None


@dataclass
class AliasedData:
    wants: Annotated[bool, Field(alias="stream")] = False


@pydantic.dataclasses.dataclass
class PydanticData:
    wants: bool = Field(False, alias="stream")


class Typed(TypedDict, total=False):
    stream: bool


class Named(BaseModel):
    name: str = "no flag"


def settings() -> dict[str, Any]:
    return {"stream": True}


MODELS = [Model, Aliased, Choices, Extra, Root, Data, AliasedData, PydanticData, Typed]
MODELS += [dict, dict[str, Any], Model | None, Named | Model, Data | Model, Typed | None]


def client_of(function: Any, **options: Any) -> TestClient:
    app = FastAPI()
    install(app)
    app.post("/")(dual_mode(**options)(function))
    return TestClient(app)


def is_stream(answer: Any) -> bool:
    assert answer.status_code == 200, answer.text
    return answer.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("kind", MODELS, ids=str)
def test_a_field_of_a_body(kind):
    async def source(body: kind):  # type: ignore[valid-type]
        yield 1

    client = client_of(source)
    accepts = {"accept": "text/event-stream"}
    assert is_stream(client.post("/", json={"stream": True}))
    assert not is_stream(client.post("/", json={"stream": False}, headers=accepts))
    assert not is_stream(client.post("/?stream=false", json={"stream": True}))
    assert not is_stream(client.post("/", json={"text": "no flag"}))
    assert is_stream(client.post("/?stream=true", json={"stream": False}))


async def embedded(body: Annotated[Model, Body(embed=True)]):
    yield 1


async def second(first: Named, body: Data | None, third: Model):
    yield 1


async def scalar(text: Annotated[str, Body()], stream: Annotated[bool, Body()] = False):
    yield 1


async def aliased(text: Annotated[str, Body()], wants: Annotated[bool, Body(alias="stream")]):
    yield 1


async def defaulted(body: Model = Body(embed=True)):
    yield 1


@pytest.mark.parametrize(
    ("function", "body"),
    [
        (embedded, {"body": {"stream": True}}),
        (second, {"first": {}, "body": {"stream": True}, "third": {"stream": False}}),
        (second, {"first": {}, "body": {}, "third": {"stream": True}}),
        (scalar, {"text": "", "stream": True}),
        (aliased, {"text": "", "stream": True}),
        (defaulted, {"body": {"stream": True}}),
    ],
)
def test_several_body_parameters(function, body):
    client = client_of(function)
    assert is_stream(client.post("/", json=body))
    if "text" in body:
        assert not is_stream(client.post("/", json={**body, "stream": False}))


def test_another_name():
    class Camel(BaseModel):
        model_config = ConfigDict(alias_generator=to_camel)
        is_live: bool = False

    async def source(body: Camel):
        yield 1

    assert is_stream(client_of(source, stream_flag="isLive").post("/", json={"isLive": True}))
    assert not is_stream(client_of(source, stream_flag=None).post("/", json={"isLive": True}))


def test_what_no_client_sent_is_no_flag():
    async def source(
        body: Model,
        of_app: Annotated[dict[str, Any], Depends(settings)],
        query: Annotated[Named, Query()],
        header: Annotated[str, Header(alias="x-a")] = "",
    ):
        yield 1

    assert not is_stream(client_of(source).post("/", json={}))
    assert is_stream(client_of(source).post("/", json={"stream": True}))


@pytest.mark.parametrize("value", [1, "true", None, [True]])
def test_a_value_of_another_type_is_no_flag(value):
    async def source(body: dict):
        yield 1

    assert not is_stream(client_of(source).post("/", json={"stream": value}))


CHECKED = [Model, Aliased, Data, AliasedData, PydanticData, Typed, dict[str, bool]]


@pytest.mark.parametrize("kind", CHECKED, ids=str)
def test_a_declared_bool_is_what_pydantic_takes_for_one(kind):
    async def source(body: kind):  # type: ignore[valid-type]
        yield 1

    client = client_of(source)
    for value in (True, 1, 1.0, "1", "true", "TRUE", "on", "yes", "t"):
        assert is_stream(client.post("/", json={"stream": value})), value
    accepts = {"accept": "text/event-stream"}
    for value in (False, 0, "0", "false", "off", "n"):
        assert not is_stream(client.post("/", json={"stream": value}, headers=accepts)), value
    for value in (2, "", "maybe", [], {}):
        assert client.post("/", json={"stream": value}).status_code == 422, value


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(
    ("value", "mode"), [("1", True), ("TRUE", True), ("off", False), ("0", False)]
)
def test_the_query_takes_what_pydantic_takes(value, mode, declared):
    async def itself(stream: bool | None = None):
        yield stream

    async def without():
        yield mode

    client = client_of(itself if declared else without)
    accepts = {"accept": "application/json" if mode else "text/event-stream"}
    answer = client.post(f"/?stream={value}", headers=accepts)
    assert is_stream(answer) is mode
    assert ("true" if mode else "false") in answer.text
    for wrong in ("2", "", "maybe", "null"):
        assert client.post(f"/?stream={wrong}").status_code == 422, wrong


@pytest.mark.parametrize("kind", [Model, Data, dict, dict[str, Any], Extra, Model | None], ids=str)
def test_null_is_no_flag(kind):
    async def source(body: kind):  # type: ignore[valid-type]
        yield 1

    client = client_of(source)
    for accept in ("application/json", "text/event-stream"):
        answer = client.post("/", json={"stream": None}, headers={"accept": accept})
        assert is_stream(answer) == (accept == "text/event-stream")


def reads(body: Model) -> str:
    return body.text


def reads_dict(anything: dict[str, Any]) -> None: ...


def reads_data(data: Data) -> None: ...


def reads_alias(body: Annotated[Aliased, Body()]) -> None: ...


def reads_flag(wants: Annotated[bool, Body(embed=True, alias="stream")] = False) -> None: ...


def reads_part(part: Annotated[Model, Body(embed=True)]) -> None: ...


def nested(inner: Annotated[None, Depends(reads)]) -> None: ...


async def yields(body: Model) -> AsyncIterator[None]:
    yield


class Reader:
    def __init__(self, body: Model) -> None: ...


class Callable_:
    async def __call__(self, body: Model) -> None: ...


BODY = {"stream": True}
DEPENDENCIES = [
    *((each, BODY) for each in (reads, reads_dict, reads_data, reads_alias, reads_flag)),
    *((each, BODY) for each in (nested, yields, Reader, Callable_())),
    (reads_part, {"part": BODY}),
]


@pytest.mark.parametrize(
    ("dependency", "body", "where"),
    [
        *((*each, "parameter") for each in DEPENDENCIES),
        *((reads, BODY, where) for where in ("route", "app", "router")),
    ],
)
def test_a_body_of_a_dependency(dependency, body, where):
    async def source(given: Any = Depends(dependency)):
        yield 1

    async def without():
        yield 1

    depends = [Depends(dependency)]
    app = FastAPI(dependencies=depends if where == "app" else None)
    install(app)
    router = APIRouter(dependencies=depends if where == "router" else None)
    function = source if where == "parameter" else without
    router.post("/", dependencies=depends if where == "route" else None)(dual_mode(function))
    app.include_router(router)
    client = TestClient(app)

    def posted(value: bool, query: str = "", accept: str = "*/*") -> bool:
        content = {key: BODY | {"stream": value} for key in body} if "part" in body else None
        content = content or {"stream": value}
        answer = client.post(f"/{query}", headers={"accept": accept}, json=content)
        return is_stream(answer)

    assert posted(True)
    assert not posted(False, accept="text/event-stream")
    assert not posted(True, "?stream=false")


def test_a_body_of_the_function_comes_before_those_of_its_dependencies():
    async def source(mine: Model, given: Annotated[str, Depends(reads)]):
        yield 1

    client = client_of(source)
    both = {"mine": {"stream": True}, "body": {"stream": False}}
    assert is_stream(client.post("/", json=both))
    assert is_stream(client.post("/", json={"mine": {}, "body": {"stream": True}}))
    wrong = client.post("/", json={"mine": {}, "body": {"stream": "maybe"}})
    assert wrong.status_code == 422
    assert len(wrong.json()["detail"]) == 1


def test_the_routes_of_a_mounted_app_are_its_own():
    """FastAPI tells the route of a Mount in an included router as that of the request."""

    async def source(given: Any = Depends(reads)):
        yield 1

    inner, outer, router = FastAPI(), FastAPI(), APIRouter()
    inner.post("/")(dual_mode(source))
    install(outer)
    router.mount("/inner", inner)
    outer.include_router(router, prefix="/outer")
    assert is_stream(TestClient(outer).post("/outer/inner/", json=BODY))
