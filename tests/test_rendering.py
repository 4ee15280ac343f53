"""From item to JSON to frame: every class of event, every kind of tag, the same in every mode."""

import functools
from datetime import timedelta
from typing import Annotated, Any, Literal

import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SerializationInfo,
    Tag,
    computed_field,
    field_serializer,
    model_serializer,
)

from dual_mode_streaming import EventDecoder, ServerSentEvent
from dual_mode_streaming.rendering import EventFrames, ItemCodec, LineFrames


class A(BaseModel):
    kind: Literal["a"] = "a"


class B(BaseModel):
    kind: Literal["b"] = "b"


class Done(BaseModel):
    kind: Literal["done"] = "done"


def frames_of(item_type: Any = Any, **options: str) -> EventFrames:
    return EventFrames(ItemCodec(item_type), "run", **options)


class OwnEvent(ServerSentEvent):
    """A user's subclass, to have fewer arguments, say."""


@pytest.mark.parametrize("item_type", [Any, OwnEvent, ServerSentEvent, A | OwnEvent])
def test_a_subclass_of_an_event_is_an_event(item_type):
    event = OwnEvent("x", event="tick")
    codec = ItemCodec(item_type)
    assert EventFrames(codec, "run").item(event) == b"id: run.1\nevent: tick\ndata: x\n\n"
    assert LineFrames(codec).item(event) == b'"x"\n'
    assert codec.json_list([event]) == b'"x"'
    assert codec.validated(event) is event


def test_an_annotation_may_hold_anything():
    codec = ItemCodec(Annotated[int, {"not": "hashable"}])
    assert codec.json(1) == b"1"


@pytest.mark.parametrize(
    ("config", "value"),
    [
        ({"ser_json_timedelta": "float"}, timedelta(seconds=5)),
        ({"ser_json_temporal": "seconds"}, timedelta(seconds=5)),
        ({"ser_json_bytes": "base64"}, b"\xff"),
        ({"ser_json_inf_nan": "strings"}, float("nan")),
    ],
)
def test_a_models_settings_hold_in_a_batch_as_in_a_stream(config, value):
    class Free(BaseModel):
        model_config = ConfigDict(**config)
        value: Any

    codec = ItemCodec(Free)
    items = [Free(value=value), Free(value=[value])]
    assert codec.json_list(items) == b",".join(codec.json(item) for item in items)


def by_kind(item: Any) -> str:
    return item["kind"] if isinstance(item, dict) else item.kind


Nested = Annotated[
    Annotated[A | Done, Field(discriminator="kind")] | B, Field(discriminator="kind")
]
Called = Annotated[Annotated[A, Tag("a")] | Annotated[Done, Tag("done")], Discriminator(by_kind)]
Forged = Annotated[
    Annotated[A, Tag("a")] | Annotated[B, Tag("b\ndata: forged")], Discriminator(by_kind)
]


@pytest.mark.parametrize("item_type", [Nested, Called, Forged])
def test_no_tag_may_take_a_reserved_name_or_break_a_line(item_type):
    with pytest.raises(ValueError, match="cannot name an event"):
        ItemCodec(item_type)


def test_the_tags_of_nested_unions_and_of_functions_are_known():
    called = Annotated[Annotated[A, Tag("x")] | Annotated[B, Tag("y")], Discriminator(by_kind)]
    nested = Annotated[Annotated[A | B, Field(discriminator="kind")], Field(discriminator="kind")]
    assert ItemCodec(called).tags.choices == {"x": A, "y": B}
    assert ItemCodec(nested).tags.choices == {"a": A, "b": B}


def test_a_tag_that_could_not_be_foreseen_is_checked_when_it_comes():
    class Odd(BaseModel):
        kind: Literal["odd"] | Literal["reset"]

    frames = frames_of(Annotated[A | Odd, Field(discriminator="kind")])
    assert frames.item(Odd(kind="odd")).startswith(b"event: odd\n")
    for _ in range(2):
        with pytest.raises(ValueError, match="cannot name an event"):
            frames.item(Odd(kind="reset"))


class P(BaseModel):
    kind: Literal["p"] = Field("p", alias="type")


class Q(BaseModel):
    kind: Literal["q"] = Field("q", alias="type")


@pytest.mark.parametrize("item", [{"type": "p"}, P()])
def test_a_tag_under_an_alias_names_the_event_of_a_dict_too(item):
    frames = frames_of(Annotated[P | Q, Field(discriminator="kind")])
    assert frames.item(item) == b'event: p\nid: run.1\ndata: {"type":"p"}\n\n'


def test_the_name_of_a_failure_is_taken_whatever_it_is():
    class Failure(BaseModel):
        kind: Literal["failure"] = "failure"

    for item in (ServerSentEvent(1, event="failure"), Failure()):
        frames = frames_of(
            Annotated[A | Failure, Field(discriminator="kind")], error_event="failure"
        )
        with pytest.raises(ValueError, match="reserved"):
            frames.item(item)
        assert frames.count == 0
    assert b"failure" in frames_of().item(ServerSentEvent(1, event="failure"))


def test_an_item_that_has_no_json_is_not_counted():
    frames = frames_of(A)
    broken = A.model_construct(kind=object())
    with pytest.raises(ValueError, match="serialize"):
        frames.item(broken)
    assert frames.count == 0
    (event,) = EventDecoder().feed(frames.item(A()))
    assert event.id == "run.1"


class Plain(BaseModel):
    type: str = "a field of this name is no kind of a schema"
    inner: A | None = None
    many: list[dict[str, A]] = []


class Aliased(BaseModel):
    name: str = Field(default="x", serialization_alias="otherName")


class Generated(BaseModel):
    model_config = ConfigDict(alias_generator=str.upper, populate_by_name=True)
    name: str = "x"


class Nested(BaseModel):
    a: A = A()
    inner: list[Aliased | None] = [Aliased()]


class Anything(BaseModel):
    value: Any = Aliased()


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")


class Computed(BaseModel):
    @computed_field(alias="otherName")
    def name(self) -> str:
        return "x"


class Recursive(BaseModel):
    children: "list[Recursive]" = []
    name: str = Field(default="x", alias="otherName")


class Custom(BaseModel):
    name: str = "x"

    @model_serializer
    def by_hand(self, info: SerializationInfo) -> dict[str, bool | None]:
        return {"by_alias": info.by_alias}


ALIASES = [Aliased(), Generated(), Nested(), Anything(), Computed(), Recursive(), Custom()]


@pytest.mark.parametrize("item", [*ALIASES, Extra(extra=Aliased())], ids=lambda i: type(i).__name__)
def test_aliases_are_used_wherever_they_are(item):
    by_alias = item.model_dump_json(by_alias=True).encode()
    assert by_alias != item.model_dump_json(by_alias=False).encode()
    codec = ItemCodec(type(item))
    assert codec.json(item) == codec.json_list([item]) == by_alias
    assert by_alias in EventFrames(codec, "run").item(item)


def test_a_type_without_aliases_is_known_as_one():
    codec = ItemCodec(Plain)
    assert not isinstance(codec.to_json, functools.partial), "no options to pass"
    item = Plain(inner=A(), many=[{"a": A()}])
    assert codec.json(item) == item.model_dump_json().encode()


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_item_of_a_feed_is_encoded_once_for_all_readers(frozen):
    encoded = []

    class Sample(BaseModel, frozen=frozen):
        text: str

        @field_serializer("text")
        def count(self, text: str) -> str:
            encoded.append(text)
            return text

    codec = ItemCodec(Sample)
    readers = [EventFrames(codec, run, feed=True) for run in ("one", "two", "three")]
    items = [Sample(text="é\u2028"), Sample(text="é\u2028")]  # equal, but two
    got = [[reader.item(item) for item in items] for reader in readers]
    assert [len(encoded)] == ([2] if frozen else [6])
    assert got[2][1].decode() == 'id: three.2\ndata: {"text":"é\\u2028"}\n\n'


def test_the_cache_of_a_feed_is_bounded():
    class Sample(BaseModel, frozen=True):
        text: str

    codec = ItemCodec(Sample)
    once = codec.json_of_feed
    first = Sample(text="first")
    kept = once(first)
    assert once(first) is kept
    for number in range(300):
        once(Sample(text=f"{number}" * 3_000))
    again = once(first)
    assert again == kept
    assert again is not kept  # it was forgotten, and encoded once more
