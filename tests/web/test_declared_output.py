"""What others declared about the output holds in every mode, or is refused at the start."""

import collections
import dataclasses
import json
import logging
from collections import abc
from collections.abc import AsyncIterator
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    Protocol,
    Self,
    TypeVar,
)

import fastapi.sse
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import ResponseValidationError
from fastapi.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from fastapi.testclient import TestClient
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel
from typing_extensions import TypeAliasType, TypedDict

from dual_mode_streaming import ServerSentEvent, dual_mode, first, install
from dual_mode_streaming.streams import Stream
from tests.web.asgi import get

T = TypeVar("T")
K = TypeVar("K")
Bound = TypeVar("Bound", bound="Out")


class Out(BaseModel):
    name: str


class Row(Out):
    password: str = "secret"


class Other(BaseModel):
    other: int


class Tagged(Out):
    kind: Literal["t"] = "t"


class TaggedRow(Tagged):
    password: str = "secret"


class Far(BaseModel):
    kind: Literal["f"] = "f"


@dataclasses.dataclass
class Data:
    name: str


@dataclasses.dataclass
class DataRow(Data):
    password: str = "secret"


class Dict(TypedDict):
    name: str


class FromObject(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    name: str


class Orm:
    """An object of another library."""

    name = "a"
    password = "secret"


class Rows(AsyncIterator[Out]):
    """The user's own iterator."""


class Deeper(Rows):
    """One that inherits it."""


class Quoted(AsyncIterator["Out"]):
    """One with a forward reference."""


class Generically(AsyncIterator[T]):
    """A generic one without `Generic`."""


class Twice(Generically[T], Generic[K, T]):
    """One that changes the order of the parameters."""


class Reads(Protocol[T]):
    def __aiter__(self) -> AsyncIterator[T]: ...


class Methods:
    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> "Out": ...  # type: ignore[empty-body]


Alias = TypeAliasType("Alias", AsyncIterator[Out])
AliasOf = TypeAliasType("AliasOf", AsyncIterator[T], type_params=(T,))
AliasOfAlias = TypeAliasType("AliasOfAlias", Annotated[AliasOf[T], "doc"], type_params=(T,))
AliasQuoted = TypeAliasType("AliasQuoted", "AsyncIterator[Out]")
Swapped = TypeAliasType("Swapped", abc.AsyncGenerator[T, K], type_params=(K, T))
Item = TypeAliasType("Item", Out)
New = NewType("New", AsyncIterator[Out])
NewItem = NewType("NewItem", Out)

ANNOTATIONS = [
    AsyncIterator[Out],
    "AsyncIterator[Out]",
    "AsyncIterator['Out']",
    abc.AsyncGenerator[Out, None],
    abc.AsyncIterable[Out],
    Optional[AsyncIterator[Out]],  # noqa: UP045
    Annotated[AsyncIterator[Out], "doc"],
    AsyncIterator[Annotated[Out, "doc"]],
    AsyncIterator[Out | Other],
    AsyncIterator[Annotated[Tagged | Far, Field(discriminator="kind")]],
    AsyncIterator[Item],
    AsyncIterator[NewItem],
    AsyncIterator[Bound],
    Alias,
    AliasOf[Out],
    AliasOfAlias[Out],
    AliasQuoted,
    Swapped[None, Out],
    New,
    Rows,
    Deeper,
    Quoted,
    Generically[Out],
    Twice[int, Out],
    Reads[Out],
    Methods,
    Stream[Out],
    list[Out],
    AsyncIterator[ServerSentEvent | Out],
]

MODELS = [
    list[Out],
    Out,
    abc.Sequence[Out],
    tuple[Out, ...],
    Optional[list[Out]],  # noqa: UP045
    Annotated[list[Out], "doc"],
    Annotated[list[Out], Field(description="the rows")],
    TypeAliasType("Listed", list[Out]),
    RootModel[list[Out]],
    list[Out | Other],
    list[Out] | list[Other],
    list[Annotated[Tagged | Far, Field(discriminator="kind")]],
    list[FromObject],
    list[Dict],
]


def row_for(declared: Any) -> Any:
    if "Tagged" in str(declared):
        return TaggedRow(name="a")
    if "Dict" in str(declared):
        return {"name": "a", "password": "secret"}
    return Orm() if "FromObject" in str(declared) else Row(name="a")


async def bodies(app: FastAPI, path: str = "/") -> list[bytes]:
    """The answer in every mode."""
    found = []
    for accept in ("application/json", "text/event-stream", "application/jsonl"):
        answer = await get(app, path, accept=accept)
        assert answer.status == 200
        found.append(answer.body)
    return found


def leaks(found: list[bytes]) -> bool:
    assert all(b'"name":"a"' in body for body in found), found
    return any(b"secret" in body for body in found)


async def last(items):
    """A fold without a type."""
    kept = None
    async for item in items:
        kept = item
    return kept


async def listed(items):
    return [item async for item in items]


async def collect(items):
    return {"all": [item async for item in items]}


@pytest.mark.parametrize("annotation", ANNOTATIONS, ids=str)
async def test_an_annotation_filters_items_in_every_mode(annotation):
    app = FastAPI()
    install(app)

    async def source():
        yield row_for(annotation)

    source.__annotations__["return"] = annotation
    app.get("/")(dual_mode(source))
    app.get("/last")(dual_mode(fold=last)(source))
    app.get("/collect")(dual_mode(fold=collect)(source))
    app.get("/first")(dual_mode(fold=first)(source))
    for path in ("/", "/last", "/collect", "/first"):
        assert not leaks(await bodies(app, path))
    item = app.openapi()["paths"]["/"]["get"]["responses"]["200"]["content"]["application/jsonl"]
    assert item["itemSchema"] != {}


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("annotated", [False, True])
async def test_a_response_model_filters_items_in_every_mode(model, annotated):
    app, router = FastAPI(), APIRouter(prefix="/in")
    row = row_for(model)

    async def source():
        yield row

    if annotated:
        source.__annotations__["return"] = AsyncIterator[type(row)]  # type: ignore[misc]
    router.get("/router", response_model=model)(dual_mode(source))
    app.get("/", response_model=model)(dual_mode(source))
    app.include_router(router)
    install(app)
    for path in ("/", "/in/router"):
        assert not leaks(await bodies(app, path))
    content = app.openapi()["paths"]["/"]["get"]["responses"]["200"]["content"]
    batch = json.dumps(content["application/json"]["schema"])
    assert "BatchOf" in batch
    assert content["application/jsonl"]["itemSchema"] != {}


async def test_a_response_model_of_a_whole_batch_is_that_of_its_items():
    class Page(BaseModel):
        data: list[Out]

    app = FastAPI()

    @app.get("/", response_model=Page)
    @dual_mode
    async def source():
        yield Row(name="a")

    assert not leaks(await bodies(app))


async def test_lists_may_be_items():
    app = FastAPI()

    @app.get("/", response_model=list[Out])
    @dual_mode
    async def source() -> AsyncIterator[list[Row]]:
        yield [Row(name="a")]

    assert json.loads((await bodies(app))[0]) == {"data": [[{"name": "a"}]]}


async def test_response_model_none_leaves_the_annotation():
    app = FastAPI()

    @app.get("/", response_model=None)
    @dual_mode
    async def source() -> AsyncIterator[Out]:
        yield Row(name="a")

    @app.get("/objects", response_model=None)
    @dual_mode
    async def objects() -> AsyncIterator[Orm]:
        yield {"name": "a"}  # type: ignore[misc]

    install(app)
    for path in ("/", "/objects"):
        assert not leaks(await bodies(app, path))


@pytest.mark.parametrize(
    "options",
    [
        {"response_model_exclude": {"password"}},
        {"response_model_include": {"name"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("fold", [None, last, first, collect, listed])
async def test_fields_that_the_route_removes_are_in_no_mode(options, fold):
    app = FastAPI()

    async def source() -> AsyncIterator[Row]:
        yield Row(name="a")

    app.get("/", **options)(dual_mode(fold=fold)(source))

    async def events() -> AsyncIterator[ServerSentEvent | Row]:
        yield ServerSentEvent(data=Row(name="a"), event="x")

    app.get("/events", **options)(dual_mode(fold=fold)(events))
    assert not leaks(await bodies(app, "/events"))
    assert not leaks(await bodies(app))


@pytest.mark.parametrize("event", [ServerSentEvent, fastapi.sse.ServerSentEvent])
async def test_the_data_of_an_event_is_filtered_too(event):
    app = FastAPI()

    @app.get("/")
    @dual_mode
    async def source() -> AsyncIterator[Out]:
        yield event(data=Row(name="a"), event="x")

    assert not leaks(await bodies(app))


@pytest.mark.parametrize("model", [Out, Out | None, Out | Other, list[Out]], ids=str)
async def test_a_response_model_of_a_fold_filters_the_stream_too(model):
    app = FastAPI()
    fold = listed if model == list[Out] else first

    @app.get("/", response_model=model)
    @dual_mode(fold=fold)
    async def source() -> AsyncIterator[Row]:
        yield Row(name="a")

    assert not leaks(await bodies(app))


class Parent(BaseModel):
    child: Out


async def test_what_a_fold_takes_out_of_an_item_is_filtered():
    async def child(items):
        async for item in items:
            return {"of": [item.child]}

    app = FastAPI()

    @app.get("/")
    @dual_mode(fold=child)
    async def source() -> AsyncIterator[Parent]:
        yield Parent(child=Row(name="a"))

    assert not leaks(await bodies(app))


async def test_dataclasses_are_filtered():
    app = FastAPI()

    async def source() -> AsyncIterator[Data]:
        yield DataRow(name="a")

    for path, fold in [("/", None), ("/last", last), ("/collect", collect)]:
        app.get(path)(dual_mode(fold=fold)(source))
        assert not leaks(await bodies(app, path))


async def test_undeclared_items_are_anything():
    app = FastAPI()

    @app.get("/")
    @dual_mode
    async def source():
        yield Row(name="a")

    @app.get("/any")
    @dual_mode
    async def anything() -> AsyncIterator[Any]:
        yield Row(name="a")

    for path in ("/", "/any"):
        assert leaks(await bodies(app, path))


@pytest.mark.parametrize("record", [False, True])
async def test_an_item_that_does_not_match_is_fastapis_error_in_every_mode(record):
    app = FastAPI()
    install(app)

    @app.get("/", response_model=list[Out])
    @dual_mode(record=record)
    async def source():
        yield Other(other=1)

    if record:
        with TestClient(app, raise_server_exceptions=False) as client:
            for accept in ("application/json", "text/event-stream", "application/jsonl"):
                assert client.get("/", headers={"accept": accept}).status_code == 500
        return
    for accept in ("application/json", "text/event-stream", "application/jsonl"):
        with pytest.raises(ResponseValidationError):
            await get(app, accept=accept)


def test_recorded_items_are_filtered_in_every_mode():
    app = FastAPI()
    install(app)

    @app.get("/", response_model=list[Out])
    @dual_mode(record=True)
    async def source():
        yield Row(name="a")

    @app.get("/fold")
    @dual_mode(record=True, fold=last)
    async def folded() -> AsyncIterator[Out]:
        yield Row(name="a")

    with TestClient(app) as client:
        for path in ("/", "/fold"):
            answers = [
                client.get(path, headers={"accept": accept})
                for accept in ("application/json", "text/event-stream", "application/jsonl")
            ]
            replays = [client.get(answer.headers["location"]) for answer in answers]
            assert not leaks([answer.content for answer in (*answers, *replays)])


# --- refusals ------------------------------------------------------------------------------------


class Silent:
    def __aiter__(self):
        return self


@pytest.mark.parametrize(
    "annotation",
    [
        *(Out, dict[str, Out], str, int, None, Silent, AsyncIterator[T], object),
        *(AsyncIterator[Out] | int, abc.Callable[..., Any], TypeAliasType("Alone", int)),
    ],
    ids=str,
)
def test_an_annotation_that_does_not_say_what_the_items_are_is_refused(annotation):
    async def source():
        yield 1

    source.__annotations__["return"] = annotation
    with pytest.raises(TypeError, match="annotate AsyncIterator") as refused:
        dual_mode(source)
    assert "\n" not in str(refused.value)


def test_items_of_which_pydantic_makes_no_schema_need_a_response_model():
    async def source() -> AsyncIterator[Orm]:
        yield Orm()

    endpoint, app = dual_mode(source), FastAPI()
    with pytest.raises(TypeError, match="annotate AsyncIterator"):
        app.get("/")(endpoint)
    app.get("/", response_model=list[FromObject])(endpoint)


class Bounded(BaseModel):
    data: list[Out]
    total: int


@pytest.mark.parametrize(
    "model",
    [
        Annotated[list[Out], Field(max_length=1)],
        Annotated[list[Out], AfterValidator(len)],
        Bounded,
    ],
    ids=str,
)
def test_a_response_model_that_a_stream_cannot_keep_is_refused_at_the_start(model):
    app = FastAPI()
    install(app)

    @app.get("/x", response_model=model)
    @dual_mode
    async def source():
        yield Row(name="a")

    with pytest.raises(TypeError, match=r"^/x: .*source: ") as refused, TestClient(app):
        pass
    assert "\n" not in str(refused.value)


def test_a_response_model_over_a_fold_needs_the_type_of_the_items():
    app = FastAPI()
    install(app)

    @app.get("/x", response_model=Out)
    @dual_mode(fold=last)
    async def source():
        yield Row(name="a")

    with pytest.raises(TypeError, match="what the items of the stream are"), TestClient(app):
        pass


# --- response classes ----------------------------------------------------------------------------


class Mine(JSONResponse):
    """A class of the user."""


def serving(where: str, kind: type[Response], *, installed: bool = True) -> FastAPI:
    """An app whose endpoint has a response class by one of the ways to set it."""
    app = FastAPI(**({"default_response_class": kind} if where == "app" else {}))
    router = APIRouter(**({"default_response_class": kind} if where == "router" else {}))
    if installed:
        install(app)

    async def source() -> AsyncIterator[Out]:
        yield Row(name="a")

    router.get("/", **({"response_class": kind} if where == "route" else {}))(dual_mode(source))
    app.include_router(
        router, prefix="/x", **({"default_response_class": kind} if where == "include" else {})
    )
    return app


WAYS = pytest.mark.parametrize("where", ["route", "router", "include", "app"])


@WAYS
@pytest.mark.parametrize(
    "kind",
    [HTMLResponse, StreamingResponse, PlainTextResponse, Response, JSONResponse, RedirectResponse],
)
async def test_a_response_class_that_is_left_on_is_harmless(where, kind):
    app = serving(where, kind)
    assert not leaks(await bodies(app, "/x/"))
    responses = app.openapi()["paths"]["/x/"]["get"]["responses"]
    assert "307" not in responses
    content = responses["200"]["content"]
    assert set(content) == {"application/json", "text/event-stream", "application/jsonl"}
    assert "BatchOf" in json.dumps(content["application/json"])


@WAYS
@pytest.mark.parametrize("installed", [True, False])
def test_fastapis_event_source_response_is_refused_at_the_start(where, installed):
    def serve() -> None:
        app = serving(where, fastapi.sse.EventSourceResponse, installed=installed)
        if installed:
            with TestClient(app):
                pass
        TestClient(app).get("/x/")  # or else at its first request

    with pytest.raises(TypeError, match="remove response_class=EventSourceResponse"):
        serve()


@pytest.mark.parametrize("options", [{}, {"response_model": list[Out]}])
def test_a_route_with_fastapis_event_source_response_cannot_be_made(options):
    async def source() -> AsyncIterator[Out]:
        yield Out(name="a")

    add = FastAPI().get("/x", response_class=fastapi.sse.EventSourceResponse, **options)
    with pytest.raises(TypeError, match="from the route /x"):
        add(dual_mode(source))


async def test_a_response_class_of_the_user_is_named_in_a_warning(caplog):
    with caplog.at_level(logging.WARNING, "dual_mode_streaming"):
        assert not leaks(await bodies(serving("route", Mine), "/x/"))
    assert "response_class=Mine is not used" in caplog.text


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "application/jsonl"])
@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("exclude", {"__all__": {"password"}}),
        ("exclude", {"data": {"__all__": {"password"}}}),
        ("exclude", {"password"}),
        ("include", {"__all__": {"name"}}),
        ("include", {"data": {"__all__": {"name": True}}}),
    ],
)
def test_the_paths_of_a_list_are_those_of_its_items(name, paths, accept):
    class Account(BaseModel):
        name: str
        password: str

    app = FastAPI()
    install(app)
    options = {f"response_model_{name}": paths}

    @app.get("/accounts", response_model=list[Account], **options)
    @dual_mode
    async def accounts() -> AsyncIterator[Account]:
        yield Account(name="a", password="secret")

    with TestClient(app) as client:
        text = client.get("/accounts", headers={"Accept": accept}).text
    assert '"name":"a"' in text
    assert "secret" not in text


class Enveloped(TypedDict):
    data: list[Out]


@dataclasses.dataclass
class EnvelopedData:
    data: list[Out]


@pytest.mark.parametrize("model", [Enveloped, EnvelopedData])
async def test_the_shape_of_a_batch_as_a_dict_or_a_dataclass(model):
    async def source():
        yield Row(name="a")

    app = FastAPI()
    app.get("/", response_model=model)(dual_mode(source))
    assert not leaks(await bodies(app))


class Partial(TypedDict):
    name: str
    note: NotRequired[str]


ROW, ROWS = Row(name="a"), {"k": Row(name="a")}
BATCHES = {  # a route's response_model, an item, and the type of the items if it must be said
    "dict of lists": (dict[str, list[Out]], ROW, Row),
    "dict of tuples": (dict[str, tuple[Out, ...]], ROW, Row),
    "mapping of lists": (abc.Mapping[str, list[Out]], ROW, Row),
    "mapping of sequences": (abc.Mapping[str, abc.Sequence[Out]], ROW, Row),
    "mutable": (abc.MutableMapping[str, list[Out]], ROW, Row),
    "ordered": (collections.OrderedDict[str, list[Out]], ROW, Row),
    "root": (RootModel[dict[str, list[Out]]], ROW, Row),
    "note": (Annotated[dict[str, list[Out]], "doc"], ROW, Row),
    "alias": (TypeAliasType("OfLists", dict[str, list[Out]]), ROW, Row),
    "dataclasses": (dict[str, list[Data]], DataRow(name="a"), DataRow),
    "union": (dict[str, list[Out]], ROW, Row | Other),
    "dicts of dicts": (dict[str, list[dict[str, Out]]], {"data": [ROWS]}, dict),
    "items": (list[dict[str, Out]], ROWS, None),
    "item": (dict[str, Out], ROWS, None),
    "int keys": (list[dict[int, Out]], {1: ROW}, None),
    "mappings": (list[abc.Mapping[str, Out]], ROWS, None),
    "root items": (list[RootModel[dict[str, Out]]], ROWS, None),
    "not required": (list[Partial], {"name": "a", "password": "secret"}, None),
    "or a model": (list[dict[str, Out] | Out], ROWS, None),
    "a model or": (list[Out | dict[str, Out]], ROW, None),
    "optional": (list[dict[str, Out] | None], ROWS, None),
    "constrained": (list[Annotated[dict[str, Out], Field(min_length=1)]], ROWS, None),
}


@pytest.mark.parametrize("name", BATCHES)
def test_dicts_of_a_response_model_are_filtered(name):
    model, item, kind = BATCHES[name]

    async def source():
        yield item

    if kind is not None:
        source.__annotations__["return"] = AsyncIterator[kind]
    app = FastAPI()
    install(app)
    app.get("/live", response_model=model)(dual_mode(source))
    app.get("/recorded", response_model=model)(dual_mode(record=True)(source))
    with TestClient(app) as client:
        for path in ("/live", "/recorded"):
            for accept in ("application/json", "text/event-stream", "application/jsonl"):
                assert not leaks([client.get(path, headers={"accept": accept}).content])


@pytest.mark.parametrize(
    "model", [dict, dict[str, Any], abc.Mapping[str, object], RootModel[dict[str, Any]]], ids=str
)
@pytest.mark.parametrize("annotated", [False, True])
async def test_a_dict_of_anything_is_any_batch(model, annotated):
    async def source():
        yield Out(name="a")

    if annotated:
        source.__annotations__["return"] = AsyncIterator[Out]
    app = FastAPI()
    install(app)
    app.get("/", response_model=model)(dual_mode(source))
    assert [b'"name":"a"' in each for each in await bodies(app)] == [True, True, True]


@pytest.mark.parametrize(
    ("model", "kind", "says"),
    [
        (list[dict[str, Out]], Row, "takes dicts, but the items are Row"),
        (list[dict], Row, "takes dicts, but the items are Row"),
        (list[Partial], Data, "takes dicts, but the items are Data"),
        (list[RootModel[dict[str, int]]], int, "takes dicts, but the items are int"),
        (dict[str, Out], Row, "takes dicts, but the items are Row"),
        (dict[str, int], Row | Other, "takes dicts, but the items are "),
        (Partial, Row, "takes dicts, but the items are Row"),
        (dict[str, list[Out]], None, "may be the batch or an item"),
        (dict[str, Annotated[list[Out], Field(max_length=1)]], Row, "cannot keep the constraints"),
    ],
    ids=str,
)
def test_a_dict_that_no_item_can_be_is_refused(model, kind, says):
    async def source():
        yield 1

    if kind is not None:
        source.__annotations__["return"] = AsyncIterator[kind]
    app = FastAPI()
    install(app)
    app.get("/", response_model=model)(dual_mode(source))
    with pytest.raises(TypeError, match=says) as refused, TestClient(app):
        pass
    assert "\n" not in str(refused.value)


CONTAINED = [
    (dict[str, Row], dict[str, Out], ROWS),
    (list[Row], list[Out], [ROW]),
    (tuple[Row, ...], tuple[Out, ...], (ROW,)),
    (dict[str, list[Row]], dict[str, list[Out]], {"k": [ROW]}),
    (abc.Mapping[str, Row | Other], dict[str, Out], ROWS),
]


@pytest.mark.parametrize(("kind", "declared", "item"), CONTAINED, ids=range(5))
async def test_a_response_model_of_a_fold_filters_containers_too(kind, declared, item):
    async def source() -> AsyncIterator[kind]:
        yield item

    app = FastAPI()
    app.get("/", response_model=list[declared])(dual_mode(fold=listed)(source))
    assert not leaks(await bodies(app))


@pytest.mark.parametrize(
    "model", [dict[str, int], dict, list[dict], Annotated[list[int], Field(max_length=3)]], ids=str
)
async def test_what_a_fold_returns_need_not_be_items(model):
    async def counted(items):
        async for _ in items:
            pass
        return [] if "list" in str(model) else {"count": 1}

    async def source() -> AsyncIterator[Out]:
        yield Out(name="a")

    app = FastAPI()
    install(app)
    app.get("/", response_model=model)(dual_mode(fold=counted)(source))
    with TestClient(app) as client:
        assert client.get("/").json() in ([], {"count": 1})


class Pair(NamedTuple):
    one: Out
    other: Any = None


CONTAINERS = {
    "list": (list[Out], [Row(name="a")]),
    "dict": (dict[str, Out], {"k": Row(name="a")}),
    "mapping": (abc.Mapping[str, Out], {"k": Row(name="a")}),
    "ordered": (collections.OrderedDict[str, Out], collections.OrderedDict(k=Row(name="a"))),
    "deque": (collections.deque[Out], collections.deque([Row(name="a")], 3)),
    "sequence": (abc.Sequence[Out], (Row(name="a"),)),
    "iterable": (abc.Iterable[Out], [Row(name="a")]),
    "named": (Pair, Pair(Row(name="a"))),
    "nested": (list[dict[str, tuple[Out, ...]]], [{"k": (Row(name="a"),)}]),
}


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("name", CONTAINERS)
async def test_subclasses_in_containers_are_filtered_and_a_fold_sees_the_declared_class(
    name, folded
):
    declared, item = CONTAINERS[name]

    async def source() -> AsyncIterator[declared]:
        yield item

    async def collected(items: Any) -> Any:
        return [each async for each in items]

    app = FastAPI()
    app.get("/")(dual_mode(fold=collected if folded else None)(source))
    assert not leaks(await bodies(app))


@pytest.mark.parametrize("paths", [{0: {"password"}}, {"__all__"}, {"__all__": True}, {0, 1}])
def test_paths_that_choose_among_items_are_refused(paths):
    app = FastAPI()
    install(app)

    @app.get("/accounts", response_model_exclude=paths)
    @dual_mode
    async def accounts() -> AsyncIterator[dict[str, str]]:
        yield {"name": "a"}

    with pytest.raises(TypeError, match="chooses among the items"), TestClient(app):
        pass
