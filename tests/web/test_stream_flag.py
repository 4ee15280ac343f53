"""Where a client may say that it wants a stream: in the query, and in each kind of body."""

from dataclasses import dataclass
from typing import Annotated, Any

import pydantic.dataclasses
import pytest
from fastapi import Body, Depends, FastAPI, Header, Query
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
