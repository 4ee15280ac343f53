"""The protocol of both clients, without a connection: when to reconnect, and what is kept."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_mode_streaming.client._events import Event, Newest, reader
from dual_mode_streaming.client._policy import DUAL_MODE, Reconnect
from dual_mode_streaming.client._requests import (
    Call,
    ResponseHead,
    is_cut,
    resource_of,
    retry_after,
)
from dual_mode_streaming.client._session import Session
from dual_mode_streaming.errors import StreamTruncated
from tests.helpers.scripted import DONE, items

EVEN = Reconnect(jitter=0)
URL = httpx.URL("http://host/x")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def head(status=200, **headers: str) -> ResponseHead:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ResponseHead(
        status, httpx.Headers({"content-type": "text/event-stream"} | named), URL, URL
    )


def session(policy: Reconnect = EVEN, clock: Clock | None = None) -> Session[str]:
    call = Call(method="GET", url="http://host/x")
    return Session(call, reader(None), dialect=DUAL_MODE, policy=policy, clock=clock or Clock())


def connect(state: Session[str], *chunks: bytes) -> list[Event[str]]:
    state.next_call()
    assert state.on_head(head())
    return [event for chunk in chunks for event in state.feed(chunk)]


@given(st.lists(st.integers(0, 200), max_size=12), st.booleans())
def test_wherever_it_is_cut_every_event_comes_once(places, crlf):
    numbers = range(1, 8)
    state = session(Reconnect(attempts=99, delay=0, jitter=0))
    got: list[str] = []
    for place in [*places, 10_000]:
        since = int((state.last_event_id or "e.1.0").rpartition(".")[2])
        wire = b"".join([*items(*(n for n in numbers if n >= since)), DONE])
        wire = wire.replace(b"\n", b"\r\n") if crlf else wire
        got += [event.data for event in connect(state, wire[:place])]
        if state.ended:
            break
        state.on_cut()
    assert got == [str(n) for n in numbers]
    assert state.outcome == "done"


def test_waits_double_from_the_servers_retry_and_start_anew_with_an_event():
    state = session()
    connect(state, *items(1))
    waits = []
    for _ in range(3):
        state.on_cut()
        waits.append(state.delay)
        state.next_call()
    connect(state, b"retry: 3000\n\n", *items(2))
    for _ in range(5):
        state.on_cut()
        waits.append(state.delay)
        state.next_call()
    assert waits == [1, 2, 4, 3, 6, 12, 24, 30]
    with pytest.raises(StreamTruncated, match="5 attempts"):
        state.on_cut()


def test_a_retry_is_kept_over_connections_and_may_be_too_long():
    state = session()
    connect(state, *items(1), b"retry: 2500\n")
    state.on_cut()
    connect(state, *items(2))
    state.on_cut()
    assert state.delay == 2.5
    connect(state, b"retry: 31000\n")
    with pytest.raises(StreamTruncated):
        state.on_cut()


def test_a_retry_of_nothing_is_no_loop():
    waits = [Reconnect(jitter=0).wait(n, retry=0) for n in range(1, 6)]
    assert waits == [0, 0.2, 0.4, 0.8, 1.6]


def test_the_wait_is_random_and_never_shorter_than_asked():
    waits = {Reconnect(jitter=0.5).wait(1, retry_after=2) for _ in range(100)}
    assert len(waits) > 10
    assert all(2 <= wait <= 3 for wait in waits if wait is not None)
    assert Reconnect().wait(6) is None
    assert Reconnect().wait(1, retry_after=31) is None
    assert Reconnect(attempts=10**6).wait(10**6) is not None


def test_a_connection_that_lasted_has_worked():
    clock = Clock()
    state = session(clock=clock)
    connect(state, *items(1))
    for _ in range(20):
        clock.now += 60
        state.on_cut()
        connect(state, b": ping\n")


def test_an_answer_that_is_put_off_counts_as_an_attempt():
    state = session()
    for wait in (7, 7, 7):
        state.next_call()
        assert not state.on_head(head(503, retry_after="7"))
        state.on_refused(b"")
        assert state.delay == wait
    state.next_call()
    state.on_head(head(503))
    state.on_refused(b"")
    assert state.delay == 8


def test_the_last_event_id_is_that_of_the_event_given_last():
    state = session()
    state.next_call()
    state.on_head(head())
    events = state.feed(b"".join(items(1, 2, 3)))
    next(events)
    next(events)
    assert state.last_event_id == "e.1.2"
    assert state.newest.count == 2


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("", None), ("-1", None), ("1.5", None), ("soon", None), ("9" * 400, None),
     ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("\u0667", None)],
)  # fmt: skip
def test_retry_after(value, seconds):
    assert retry_after({"retry-after": value}) == seconds


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/streams/a", "http://host/streams/a"),
        ("http://host:80/s", "http://host/s"),
        ("//host/s", "http://host/s"),
        ("https://host/s", None),
        ("http://host:81/s", None),
        ("//elsewhere/s", None),
        ("http://host@elsewhere/s", None),
        ("http://[", None),
        ("", None),
    ],
)
def test_a_location_is_of_the_same_origin(location, target):
    found = resource_of(head(location=location))
    assert (None if found is None else str(found)) == target


def test_errors_that_another_connection_may_not_have():
    assert is_cut(httpx.ReadTimeout(""))
    assert is_cut(httpx.RemoteProtocolError(""))
    assert not is_cut(httpx.UnsupportedProtocol(""))
    assert not is_cut(httpx.TooManyRedirects(""))


def test_the_newest_are_kept():
    newest: Newest[str] = Newest(1000)
    for n in range(20):
        newest.add(Event(str(n)), 100)
    assert [event.data for event in newest.events] == ["15", "16", "17", "18", "19"]
    newest.add(Event("large"), 5000)
    assert [event.data for event in newest.events] == ["large"]
    nothing: Newest[str] = Newest(0)
    nothing.add(Event("x"), 1)
    assert (nothing.count, len(nothing.events)) == (1, 0)


def test_after_a_redirect_to_another_origin_a_location_is_of_nobody():
    away = httpx.URL("http://elsewhere/y")
    for location in ("/streams/a", "http://elsewhere/streams/a"):
        told = ResponseHead(200, httpx.Headers({"location": location}), URL, away)
        assert resource_of(told) is None
    told = ResponseHead(200, httpx.Headers({"location": "http://host/streams/a"}), URL, away)
    assert str(resource_of(told)) == "http://host/streams/a"
