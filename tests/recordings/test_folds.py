"""A fold over a recording has the items that it would have without one, or is refused."""

import collections
import dataclasses
import datetime
import enum
import math
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pydantic.dataclasses
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import (
    AllowInfNan,
    AnyUrl,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Json,
    PlainSerializer,
    RootModel,
    SecretStr,
    SerializeAsAny,
    Tag,
    computed_field,
    field_serializer,
    model_serializer,
)
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from dual_mode_streaming import ServerSentEvent, dual_mode, first, install


class Aliased(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    full_name: str = Field(serialization_alias="theName")
    given_at: int = Field(validation_alias="at")


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    at: datetime.datetime

    @computed_field(alias="theYear")  # type: ignore[prop-decorator]
    @property
    def year(self) -> int:
        return self.at.year


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    n: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return self.n * 2


class Numbers(BaseModel):
    x: float
    maybe: float | None = None


class Constants(Numbers):
    model_config = ConfigDict(ser_json_inf_nan="constants")


class Strings(Numbers):
    model_config = ConfigDict(ser_json_inf_nan="strings")


class Binary(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", ser_json_timedelta="float")
    raw: bytes
    took: datetime.timedelta


class Color(enum.Enum):
    RED = "red"


class Many(BaseModel):
    price: Decimal
    key: uuid.UUID
    path: Path
    url: AnyUrl
    days: set[datetime.date]
    pair: tuple[int, str]
    color: Color
    parsed: Json[list[int]]
    children: list["Many"] = []


class A(BaseModel):
    kind: Literal["a"] = Field("a", serialization_alias="is")
    x: int


class B(BaseModel):
    kind: Literal["b"] = Field("b", serialization_alias="is")
    x: int


class Left(BaseModel):
    x: int


class Right(BaseModel):
    x: int
    right: bool = True


@dataclasses.dataclass
class Data:
    name: Annotated[str, Field(serialization_alias="theName")]
    raw: bytes


class Typed(TypedDict):
    name: Annotated[str, Field(serialization_alias="theName")]


def side(item: Any) -> str:
    found = item.get("right") if isinstance(item, dict) else isinstance(item, Right)
    return "right" if found else "left"


class Mixed(BaseModel):
    null: Numbers
    constant: Constants
    any: Any


@pydantic.dataclasses.dataclass(config=ConfigDict(ser_json_bytes="base64"))
class Data64:
    x: float
    raw: bytes


class Point(NamedTuple):
    x: float
    y: float | None


Located = TypedDict("Located", {"x": float, "y\u2028": float | None})


MANY = Many(
    price=Decimal("1.10"),
    key=uuid.UUID(int=1),
    path=Path("/a"),
    url=AnyUrl("http://x.y/"),
    days={datetime.date(2026, 1, 1)},
    pair=(1, "a"),
    color=Color.RED,
    parsed="[1]",
)

CASES = [
    (Aliased, Aliased(fullName="a", at=1)),
    (Computed, Computed(at=datetime.datetime(2026, 1, 1))),
    (Open, Open(n=1, more="x")),
    (Numbers, Numbers(x=math.nan)),
    (list[Numbers], [Numbers(x=1, maybe=2)]),
    (Constants, Constants(x=-math.inf)),
    (Strings, Strings(x=math.inf)),
    (Binary, Binary(raw=b"\xff", took=datetime.timedelta(seconds=1.5))),
    (Many, MANY.model_copy(update={"children": [MANY]})),
    (Annotated[A | B, Field(discriminator="kind")], B(x=1)),
    (
        Annotated[
            Annotated[Left, Tag("left")] | Annotated[Right, Tag("right")], Discriminator(side)
        ],
        Right(x=1),
    ),
    (A | B, B(x=1)),
    (RootModel[list[A]], RootModel[list[A]]([A(x=1)])),
    (Data, Data(name="a", raw=b"b")),
    (Typed, {"name": "a"}),
    (dict[str, Aliased], {"k": Aliased(fullName="a", at=1)}),
    (int | str, "1"),
    (bytes, b"a"),
    (float, math.nan),
    (float, math.inf),
    (float | None, -math.inf),
    (float | None, math.nan),
    (float | None, None),
    (float | int | str, math.inf),
    (Numbers, Numbers(x=-math.inf, maybe=math.nan)),
    (Numbers, Numbers(x=1, maybe=math.inf)),
    (Constants, Constants(x=math.inf, maybe=None)),
    (Strings, Strings(x=math.nan, maybe=None)),
    (Mixed, Mixed(null=Numbers(x=math.inf), constant=Constants(x=math.inf), any=[math.inf, None])),
    (list[float | None], [math.inf, -math.inf, math.nan, None, 1.5]),
    (dict[str, float], {"a": -math.inf, "b": math.nan}),
    (dict[float, int], {math.inf: 1, 2.5: 2}),
    (tuple[float, float | None], (math.inf, None)),
    (set[float], {math.inf}),
    (Data64, Data64(math.inf, b"\xff")),
    (Point, Point(math.inf, None)),
    (Located, {"x": -math.inf, "y\u2028": None}),
    (dict, {"x": math.inf, "y\u2028": [math.nan, None]}),
    (Any, math.inf),
    (Any, [math.nan, None, {"x": -math.inf}]),
    (Any, ServerSentEvent(data={"x": math.inf, "y": None}, event="n")),
    (complex, complex(math.inf, math.nan)),
    (Decimal, Decimal("1.50")),
    (Annotated[Decimal, AllowInfNan(True)], Decimal("Infinity")),
    (int, 10**400),
    (str, "a\u2028b\0"),
    (frozenset[int], frozenset({1, 2})),
    (collections.deque[int], collections.deque([1])),
    (datetime.timedelta, datetime.timedelta(days=1, microseconds=3)),
    (dict[datetime.date, int], {datetime.date(2026, 1, 1): 1}),
]


async def shown(items: AsyncIterator[Any]) -> list[str]:
    return [repr(item) async for item in items]


def app_of(item_type: Any, item: Any, **options: Any) -> FastAPI:
    app = FastAPI()
    install(app)

    async def source() -> AsyncIterator[item_type]:  # type: ignore[valid-type]
        yield item
        yield item

    for record in (False, True):
        for fold in (shown, first, None):
            path = f"/{record}/{fold.__name__ if fold else None}"
            app.get(path, **options)(dual_mode(record=record, fold=fold)(source))
    return app


@pytest.mark.parametrize(("item_type", "item"), CASES, ids=range(len(CASES)))
def test_recorded_answers_equal_those_that_are_not(item_type, item):
    app = app_of(item_type, item)
    with TestClient(app) as client:
        for fold in ("shown", "first", "None"):
            for accept in ("application/json", "application/jsonl"):
                plain, recorded = (
                    client.get(f"/{record}/{fold}", headers={"accept": accept})
                    for record in (False, True)
                )
                assert recorded.status_code == plain.status_code == 200
                assert recorded.content == plain.content
                again = client.get(recorded.headers["location"], headers={"accept": accept})
                assert again.content == plain.content


@pytest.mark.parametrize(
    "options",
    [
        {"response_model_exclude_none": True},
        {"response_model_exclude_unset": True},
        {"response_model_exclude_defaults": True},
        {"response_model_by_alias": False},
    ],
    ids=str,
)
def test_a_fold_reads_under_the_options_of_its_route(options):
    class Sparse(BaseModel):
        name: str | None = Field(serialization_alias="theName")
        n: int = 1
        more: str | None = "default"

    with TestClient(app_of(Sparse, Sparse(name=None), **options)) as client:
        assert client.get("/True/None").json() == client.get("/False/None").json()
        assert client.get("/True/first").json() == client.get("/False/first").json()
        if "response_model_exclude_none" not in options:
            assert client.get("/True/shown").json() == client.get("/False/shown").json()


class Hidden(BaseModel):
    hidden: int = Field(exclude=True)


class HiddenIf(BaseModel):
    hidden: int = Field(exclude_if=bool)


class Secret(BaseModel):
    hidden: list[SecretStr]


class Own(BaseModel):
    hidden: int

    @field_serializer("hidden")
    def mask(self, _: int) -> str:
        return "*"


class Whole(BaseModel):
    hidden: int

    @model_serializer
    def mask(self) -> dict[str, int]:
        return {"x": 1}


class AnyOf(BaseModel):
    hidden: SerializeAsAny[Left]


class Noted(BaseModel):
    hidden: Annotated[int, PlainSerializer(str)]


@pytest.mark.parametrize("item_type", [Hidden, HiddenIf, Secret, Own, Whole, AnyOf, Noted])
@pytest.mark.parametrize("wrapped", [False, True])
def test_items_that_json_does_not_show_whole_are_refused_with_a_fold(item_type, wrapped):
    items: Any = list[item_type | None] if wrapped else item_type

    async def source() -> AsyncIterator[items]:  # type: ignore[valid-type]
        yield

    dual_mode(fold=shown)(source)
    dual_mode(record=True)(source)
    with pytest.raises(
        TypeError, match=f"reads the items from their JSON, and {item_type.__name__}"
    ):
        dual_mode(record=True, fold=shown)(source)


def test_a_route_that_removes_fields_is_refused_with_a_fold():
    app = FastAPI()
    install(app)

    @app.get("/x", response_model_exclude={"x"})
    @dual_mode(record=True, fold=shown)
    async def source() -> AsyncIterator[Left]:
        yield Left(x=1)

    with pytest.raises(TypeError, match=r"^/x: .*response_model_exclude"), TestClient(app):
        pass


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
def test_the_numbers_of_a_recording_outlive_its_worker(kind, tmp_path):
    async def source() -> AsyncIterator[Numbers]:
        yield Numbers(x=math.inf)

    store = f"sqlite:{tmp_path}/streams.db" if kind == "sqlite" else "memory"
    app = FastAPI()
    install(app, store=store)
    app.get("/")(dual_mode(record=True, fold=shown)(source))
    with TestClient(app) as client:
        made = client.get("/", headers={"accept": "text/event-stream"})
        assert 'data: {"x":null,"maybe":null}' in made.text
        location = made.headers["location"]
        for accept in ("text/event-stream", "application/jsonl"):
            again = client.get(location, headers={"accept": accept}).text
            assert '{"x":null,"maybe":null}' in again
            assert "Infinity" not in again
        assert "Infinity" not in client.get(f"{location}?offset=-1").text
        assert client.get(location).json() == ["Numbers(x=inf, maybe=None)"]


def test_a_fold_reads_json_in_a_string():
    async def source() -> AsyncIterator[Json]:
        yield "[1]"

    app = FastAPI()
    install(app)
    app.get("/")(dual_mode(record=True, fold=shown)(source))
    with TestClient(app) as client:
        assert client.get("/").json() == ["[1]"]
