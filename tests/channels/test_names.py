"""Names of channels: what they may be, and that no parameter reaches into another channel."""

import enum
import uuid
from datetime import timedelta
from pathlib import Path
from threading import Lock

import pytest
from fastapi import FastAPI

from dual_mode_streaming import Channel, Problem, install
from dual_mode_streaming.channels._names import NameTemplate, check_name, stream_of
from dual_mode_streaming.stores import MemoryStore


class Kind(enum.StrEnum):
    NEW = "new"


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        (7, "7"),
        ("a b.c", "a b.c"),
        ("ü:1", "ü:1"),
        ("%2e%2f", "%2e%2f"),
        ("-1", "-1"),
        (Kind.NEW, "new"),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
    ],
)
def test_a_value_is_one_segment(value, segment):
    assert NameTemplate("orders/{id}/events").fill({"id": value}) == f"orders/{segment}/events"


@pytest.mark.parametrize(
    "value",
    ["", ".", "..", " ", " .. ", "a/b", "../x", "a\\b", "a\n", "\0", "{id}", "x" * 600, "\u2028"],
)
def test_a_value_that_is_no_segment_is_refused(value):
    with pytest.raises(Problem) as refused:
        NameTemplate("orders/{id}").fill({"id": value})
    assert refused.value.status_code == 400


@pytest.mark.parametrize("value", [None, 1.5, True, b"x", ["a"], object()])
def test_a_value_of_another_type_is_an_error(value):
    with pytest.raises(TypeError, match="must be a str, int or UUID"):
        NameTemplate("orders/{id}").fill({"id": value})


@pytest.mark.parametrize("values", [{}, {"other": 1}, {"id": 1, "more": 2}])
def test_the_parameters_are_those_of_the_name(values):
    with pytest.raises(TypeError, match="needs id, not"):
        NameTemplate("orders/{id}").fill(values)


@pytest.mark.parametrize(
    "name",
    ["", "/", "a/", "/a", "a//b", "a/../b", "a-{id}", "{id", "{}", "{a b}", "{after}", "{key}/x",
     "{a}/{a}", "a\n", "x" * 501],
)  # fmt: skip
def test_a_name_that_is_none_is_an_error(name):
    with pytest.raises(ValueError, match="Channel"):
        Channel(name, int)


@pytest.mark.parametrize("name", ["a-{id}", "{id", "{}", "{a b}", "orders/{id:int}", "a/{0}/b"])
def test_a_parameter_that_is_none_is_explained(name):
    with pytest.raises(ValueError, match="a parameter is a whole segment and a Python name, as in"):
        Channel(name, int)


@pytest.mark.parametrize("wrong", [5, "Order", [int], object(), Lock()])
def test_a_type_that_is_none_is_named_with_its_channel(wrong):
    with pytest.raises(TypeError, match=r"^Channel\('types'\): .+ is no type") as refused:
        Channel("types", wrong)
    assert "\n" not in str(refused.value)


def test_a_lifetime_is_in_seconds():
    with pytest.raises(ValueError, match="ttl must be a number of seconds above 0, not datetime"):
        Channel("bounds", int, ttl=timedelta(hours=1))


def test_two_channels_cannot_have_the_same_name():
    store = MemoryStore()
    first = Channel("names/{id}", int, store=store)
    for other in ("names/all", "{a}/b", "{a}/{b}", "names/{other}"):
        with pytest.raises(ValueError, match="can be the same name"):
            Channel(other, int, store=store)
    Channel("names/{id}", int, store=store)  # the same, imported twice
    Channel("names/{id}/x", int, store=store)
    Channel("names/all", int, store=MemoryStore())
    del first


def test_a_name_that_is_no_text_is_an_error():
    with pytest.raises(TypeError, match="name of a channel must be a str, not None"):
        Channel(None, int)


@pytest.mark.parametrize("address", ["shop.db", "sqlite:", "postgres://u:secret@h"])
def test_an_address_that_is_no_store_is_an_error_at_once(address):
    with pytest.raises(ValueError, match=r"^Channel\('a'\): store must be memory, ") as refused:
        Channel("a", int, store=address)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("store", [Path("x.db"), 5, object()])
def test_what_is_no_store_is_an_error_at_once(store):
    with pytest.raises(TypeError, match=r"^Channel\('a'\): store must be a store or the address"):
        Channel("a", int, store=store)
    with pytest.raises(TypeError, match=r"^install: store must be a store or the address"):
        install(FastAPI(), store=store)


def test_different_names_are_different_streams():
    names = ["a", "b", "a/b", "A", "a b", "ä", "a\u0308"]
    assert len({stream_of(check_name(name)) for name in names}) == len(names)


@pytest.mark.parametrize("bound", ["max_messages", "max_bytes", "ttl"])
@pytest.mark.parametrize("value", [0, -1, "1h"])
def test_a_bound_is_above_0(bound, value):
    with pytest.raises(ValueError, match=bound):
        Channel("bounds", int, **{bound: value})
