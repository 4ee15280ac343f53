"""The OpenAPI 3.2 document: valid, and true of what really goes over the wire."""

import json
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, Generic, Literal, TypeVar

import jsonschema
import pytest
from fastapi import Depends, FastAPI, Query
from fastapi.openapi.utils import get_openapi
from fastapi.testclient import TestClient
from openapi_spec_validator import OpenAPIV32SpecValidator, validate
from pydantic import BaseModel, ConfigDict, Field

from dual_mode_streaming import EventDecoder, ServerSentEvent, dual_mode, first, install

from .asgi import get


class Address(BaseModel):
    city: str


class Item(BaseModel):
    index: int
    address: Address | None = None


class Text(BaseModel):
    kind: Literal["text"] = "text"
    text: str


class Usage(BaseModel):
    kind: Literal["usage"] = "usage"
    tokens: int


Event = Annotated[Text | Usage, Field(discriminator="kind")]


def app_of(function: Any, path: str = "/", **options: Any) -> FastAPI:
    app = FastAPI()
    install(app)
    app.get(path)(dual_mode(**options)(function))
    return app


async def items() -> AsyncIterator[Item]:
    yield Item(index=1, address=Address(city="Ulm"))
    yield Item(index=2)


async def failing() -> AsyncIterator[Item]:
    yield Item(index=1)
    raise ValueError


async def union() -> AsyncIterator[Event]:
    yield Text(text="a")
    yield Usage(tokens=1)


async def anything() -> AsyncIterator[Any]:
    yield {"a": 1}
    yield ServerSentEvent("x", event="named")


async def events() -> AsyncIterator[ServerSentEvent]:
    yield ServerSentEvent("x", event="named")


async def numbers() -> AsyncIterator[int]:
    yield 1


GENERATORS = [items, failing, union, anything, events, numbers]


def schema_validator(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """A JSON Schema 2020-12 validator for a schema that refers into the document."""
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator({**schema, "components": document["components"]})


def content_of(document: dict[str, Any], path: str = "/") -> dict[str, Any]:
    return document["paths"][path]["get"]["responses"]["200"]["content"]


@pytest.mark.parametrize("function", GENERATORS)
def test_the_document_is_valid(function):
    document = app_of(function).openapi()
    assert document["openapi"] == "3.2.0"
    validate(document, cls=OpenAPIV32SpecValidator)
    content = content_of(document)
    assert set(content) == {"application/json", "text/event-stream", "application/jsonl"}
    jsonschema.Draft202012Validator.check_schema(content["text/event-stream"]["itemSchema"])
    jsonschema.Draft202012Validator.check_schema(content["application/jsonl"]["itemSchema"])


@pytest.mark.parametrize("function", GENERATORS)
@pytest.mark.parametrize("cursor", [None, "a-cursor-of-old"])
async def test_the_frames_are_what_the_document_says(function, cursor):
    app = app_of(function)
    document = app.openapi()
    content = content_of(document)
    headers = [("last-event-id", cursor)] if cursor else []
    validator = schema_validator(document, content["text/event-stream"]["itemSchema"])
    seen = EventDecoder().feed((await get(app, headers=headers)).body)
    assert len(seen) > 1
    for event in seen:
        instance = {"data": event.data, "id": event.id}
        if event.event is not None:
            instance["event"] = event.event
        instance = {key: value for key, value in instance.items() if value is not None}
        validator.validate(instance)
        (schema,) = [
            choice
            for choice in content["text/event-stream"]["itemSchema"]["oneOf"]
            if schema_validator(document, choice).is_valid(instance)
        ]
        if inner := schema["properties"]["data"].get("contentSchema"):
            schema_validator(document, inner).validate(json.loads(event.data))


async def test_a_frame_of_another_shape_is_not_what_the_document_says():
    document = app_of(union).openapi()
    item_schema = content_of(document)["text/event-stream"]["itemSchema"]
    validator = schema_validator(document, item_schema)
    assert validator.is_valid({"event": "text", "data": "{}"})
    assert not validator.is_valid({"event": "other", "data": "{}"})
    assert not validator.is_valid({"data": "{}"})
    assert not validator.is_valid({"event": "done"})


@pytest.mark.parametrize("function", [items, union, numbers, anything])
async def test_batch_and_lines_are_what_the_document_says(function):
    app = app_of(function)
    document = app.openapi()
    content = content_of(document)
    batch = json.loads((await get(app, accept="application/json")).body)
    schema_validator(document, content["application/json"]["schema"]).validate(batch)
    line = schema_validator(document, content["application/jsonl"]["itemSchema"])
    for text in (await get(app, accept="application/jsonl")).body.splitlines():
        line.validate(json.loads(text))


async def test_a_union_has_a_schema_per_event_name():
    schemas = content_of(app_of(union).openapi())["text/event-stream"]["itemSchema"]["oneOf"]
    names = [schema["properties"]["event"]["const"] for schema in schemas]
    assert names == ["text", "usage", "done", "error", "reset"]


async def test_a_fold_has_the_schema_of_what_it_returns():
    async def total(numbers: AsyncIterator[int]) -> dict[str, int]:
        return {"sum": 0}

    document = app_of(numbers, fold=total).openapi()
    schema = content_of(document)["application/json"]["schema"]
    assert schema["additionalProperties"] == {"type": "integer"}
    document = app_of(numbers, fold=first).openapi()
    validate(document, cls=OpenAPIV32SpecValidator)


def test_the_flag_and_the_errors_are_documented():
    operation = app_of(items, stream_flag="live").openapi()["paths"]["/"]["get"]
    (flag,) = operation["parameters"]
    assert (flag["name"], flag["in"], flag["required"]) == ("live", "query", False)
    for status in ("406", "413", "503", "504"):
        content = operation["responses"][status]["content"]
        assert content == {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        }
    assert "204" in operation["responses"]


async def test_without_other_parameters_a_wrong_flag_is_documented_and_refused():
    app = app_of(items)
    document = app.openapi()
    validate(document, cls=OpenAPIV32SpecValidator)
    described = document["paths"]["/"]["get"]["responses"]["422"]["content"]["application/json"]
    assert described["schema"]["$ref"].endswith("/HTTPValidationError")
    answer = await get(app, query="stream=maybe")
    assert answer.status == 422
    (told,) = json.loads(answer.body)["detail"]
    assert (told["type"], told["loc"], told["input"]) == (
        "bool_parsing",
        ["query", "stream"],
        "maybe",
    )


def test_the_flag_is_there_once_whoever_else_has_it():
    def quota(stream: bool | None = None) -> None:
        pass

    async def live(live: Annotated[bool, Query(alias="stream")] = False) -> AsyncIterator[Item]:
        yield Item(index=1)

    app = FastAPI()
    install(app)
    problems = {"4XX": {"description": "A problem"}}
    app.get("/quota", dependencies=[Depends(quota)])(dual_mode(items))
    app.get("/live")(dual_mode(live))
    app.get("/twice", responses=problems)(dual_mode(items))
    app.get("/twice", operation_id="again")(dual_mode(items))
    document = app.openapi()
    validate(document, cls=OpenAPIV32SpecValidator)
    for path in ("/quota", "/live", "/twice"):
        (flag,) = document["paths"][path]["get"]["parameters"]
        assert (flag["in"], flag["name"]) == ("query", "stream")

    alone = FastAPI()
    install(alone)
    alone.get("/", responses=problems)(dual_mode(items))
    assert "422" not in alone.openapi()["paths"]["/"]["get"]["responses"]


def test_the_error_events_other_name_is_documented():
    document = app_of(items, error_event="failure").openapi()
    schemas = content_of(document)["text/event-stream"]["itemSchema"]["oneOf"]
    assert "failure" in [schema["properties"]["event"]["const"] for schema in schemas]


def test_models_of_one_name_do_not_take_each_others_place():
    def other() -> type[BaseModel]:
        class Item(BaseModel):
            name: str

        return Item

    other_item = other()

    async def named() -> AsyncIterator[other_item]:
        yield other_item(name="x")

    app = app_of(items)
    app.get("/other")(dual_mode(named))

    async def only_streamed(items: AsyncIterator[other_item]) -> int:
        return 1

    app.get("/folded")(dual_mode(fold=only_streamed)(named))
    document = app.openapi()
    validate(document, cls=OpenAPIV32SpecValidator)
    for path, instance in [
        ("/", {"index": 1}),
        ("/other", {"name": "x"}),
        ("/folded", {"name": "x"}),
    ]:
        schema = content_of(document, path)["application/jsonl"]["itemSchema"]
        validator = schema_validator(document, schema)
        assert validator.is_valid(instance)
        assert not validator.is_valid({"neither": 1})


def test_a_route_that_comes_later_is_documented_and_nothing_twice():
    app = app_of(items)
    once = json.dumps(app.openapi())
    assert json.dumps(app.openapi()) == once
    app.post("/later")(dual_mode(numbers))
    operation = app.openapi()["paths"]["/later"]["post"]
    assert "text/event-stream" in operation["responses"]["200"]["content"]
    assert "204" in operation["responses"], "a POST may resume, too"


def test_plain_endpoints_are_left_alone():
    app = app_of(items)

    @app.get("/plain")
    def plain() -> int:
        return 1

    assert set(content_of(app.openapi(), "/plain")) == {"application/json"}


def test_without_install_the_batch_is_documented():
    app = FastAPI()
    app.get("/")(dual_mode(items))
    assert set(content_of(app.openapi())) == {"application/json"}


T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    items: list[T]


class Titled(BaseModel):
    model_config = ConfigDict(title="A title: with spaces")
    x: int = 1


class Problem(BaseModel):
    mine: str = ""


def another(name: str) -> type[BaseModel]:
    return type(name, (BaseModel,), {"__annotations__": {"other": int}, "other": 1})


async def one(items: AsyncIterator[Any]) -> int:
    return 1


def items_of(model: Any) -> Any:
    async def source() -> AsyncIterator[model]:
        yield None

    return source


def expect_good_names(document: dict[str, Any]) -> None:
    validate(document, cls=OpenAPIV32SpecValidator)
    for mapping in re.findall(r'"mapping": (\{[^}]*\})', json.dumps(document)):
        names = [path.rpartition("/")[2] for path in json.loads(mapping).values()]
        assert set(names) <= set(document["components"]["schemas"])
    schemas = document["components"]["schemas"]
    assert all(re.fullmatch(r"[a-zA-Z0-9._-]+", name) for name in schemas)
    titles = [schema["title"] for schema in schemas.values() if "title" in schema]
    assert len(titles) == len(set(titles))
    for reference in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)):
        assert reference in schemas


@pytest.mark.parametrize("fold", [None, one])
@pytest.mark.parametrize(
    "model",
    [
        *(Page[int], Page[Titled], Page[Page[Titled]], Titled, Problem, another("Item")),
        *(another("Problem"), Page[str] | Titled, Page[int] | None, list[Page[Titled]]),
        *(dict[str, Page[int]], Event, tuple[Titled, Problem], another("Größe")),
    ],
)
def test_names_of_components_are_valid_and_titles_unique(model, fold):
    app = app_of(items)
    app.get("/other")(dual_mode(fold=fold)(items_of(model)))
    app.get("/third")(dual_mode(fold=fold)(items_of(another("Item"))))
    app.get("/mine", response_model=Problem)(lambda: None)
    app.get("/recorded")(dual_mode(record=True)(items_of(model)))
    document = app.openapi()
    expect_good_names(document)
    schemas = document["components"]["schemas"]
    refused = document["paths"]["/"]["get"]["responses"]["406"]["content"]
    name = refused["application/problem+json"]["schema"]["$ref"].rpartition("/")[2]
    assert {"type", "title", "status"} <= set(schemas[name]["properties"])
    assert set(schemas["Problem"]["properties"]) != {"mine"} or name != "Problem"


def test_a_union_whose_members_are_renamed_keeps_its_mapping():
    async def echo(body: Text) -> AsyncIterator[Event]:
        yield body

    app = app_of(items)
    app.post("/echo")(dual_mode(echo))
    schemas = app.openapi()["paths"]["/echo"]["post"]["responses"]["200"]["content"]
    line = schemas["application/jsonl"]["itemSchema"]
    members = {part["$ref"] for part in line["oneOf"]}
    assert set(line["discriminator"]["mapping"].values()) == members


@pytest.mark.parametrize("separate", [True, False])
def test_models_that_differ_in_and_out(separate):
    app = FastAPI(separate_input_output_schemas=separate)
    install(app)

    async def echo(body: Item) -> AsyncIterator[Item]:
        yield body

    app.post("/")(dual_mode(echo))
    validate(app.openapi(), cls=OpenAPIV32SpecValidator)


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_document_of_the_apps_own_has_the_streams_too(cached, when):
    app = FastAPI()

    def own() -> dict[str, Any]:
        if cached and app.openapi_schema:
            return app.openapi_schema
        app.openapi_schema = get_openapi(title="mine", version="7", routes=app.routes)
        return app.openapi_schema

    app.get("/")(dual_mode(items))
    if not cached:
        app.openapi()
    if when == "before":
        app.openapi = own
    install(app)
    if when == "after":
        app.openapi = own
    http = TestClient(app)
    for _ in 1, 2:
        document = http.get("/openapi.json").json()
        assert document["info"]["title"] == "mine"
        assert "text/event-stream" in content_of(document)
        validate(document, cls=OpenAPIV32SpecValidator)
