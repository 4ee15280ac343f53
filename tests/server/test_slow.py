"""`GET /slow`: what a bounded buffer does, seen over a real connection."""

import itertools
import json
from collections.abc import Iterator

import httpx
import pytest

from dual_mode_streaming import EventDecoder


def watched(service: str, **asked: object) -> Iterator[dict[str, int]]:
    """The items as they come; then the data of an error, if that is the end."""
    decoder = EventDecoder()
    headers = {"Accept": "text/event-stream"}
    with httpx.stream("GET", f"{service}/slow", params=asked, headers=headers) as answer:
        assert answer.status_code == 200
        for chunk in answer.iter_raw():
            for event in decoder.feed(chunk):
                if event.event != "done":
                    yield json.loads(event.data)


def test_a_slow_consumer_pauses_the_producer_and_loses_nothing(service):
    items = list(itertools.islice(watched(service, produce=1000, drain=100, size=5), 30))
    assert [item["number"] for item in items] == list(range(1, 31))
    for item in items:
        assert item["waiting"] <= 5
        assert item["dropped"] == 0
        assert item["produced"] == item["delivered"] + item["waiting"]
    assert any(item["paused"] for item in items[10:])


def test_a_fast_consumer_leaves_nothing_waiting(service):
    items = list(itertools.islice(watched(service, produce=100, drain=1000), 20))
    assert max(item["waiting"] for item in items) <= 2
    assert not any(item["paused"] for item in items)


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
def test_where_items_are_dropped_the_producer_goes_on(service, policy):
    asked = {"produce": 1000, "drain": 50, "size": 5, "policy": policy}
    items = list(itertools.islice(watched(service, **asked), 20))
    last = items[-1]
    assert last["dropped"] > 0
    assert last["produced"] == last["delivered"] + last["waiting"] + last["dropped"]
    assert not any(item["paused"] for item in items)
    numbers = [item["number"] for item in items]
    assert numbers == sorted(set(numbers)) != list(range(1, 21))


def test_a_reader_that_is_cut_off_receives_an_error(service):
    asked = {"produce": 1000, "drain": 10, "size": 5, "policy": "disconnect"}
    *_, last = watched(service, **asked)
    assert (last["status"], last["detail"]) == (503, "the reader was too slow and was disconnected")
    batch = httpx.get(f"{service}/slow", params=asked)
    assert (batch.status_code, batch.json()) == (503, last)
    assert batch.headers["content-type"] == "application/problem+json"


def test_it_ends_when_its_time_is_over(service):
    answer = httpx.get(f"{service}/slow", params={"produce": 100, "drain": 100, "seconds": 0.2})
    assert 1 <= len(answer.json()["data"]) <= 21


@pytest.mark.parametrize(
    "bad", [{"produce": 0}, {"drain": 1001}, {"size": 0}, {"policy": "none"}, {"seconds": 301}]
)
def test_a_rate_that_makes_no_sense_is_refused(service, bad):
    assert httpx.get(f"{service}/slow", params=bad).status_code == 422
