"""The codec: WHATWG's rules one by one, its own examples, and encoder and decoder as a pair."""

import enum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from dual_mode_streaming import EventDecoder, EventTooLarge, ServerSentEvent
from dual_mode_streaming.sse import dumps


def decode(data: bytes, step: int | None = None) -> list[ServerSentEvent]:
    decoder = EventDecoder()
    step = step or max(1, len(data))
    return [
        event
        for start in range(0, len(data), step)
        for event in decoder.feed(data[start : start + step])
    ]


def parts(data: bytes) -> list[tuple[str, str | None, str | None]]:
    events = decode(data)
    assert events == decode(data, 1), "cut at every byte it reads otherwise"
    return [(event.data, event.event, event.id) for event in events]


# The examples of the specification, section 9.2.6.
@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (
            b"data: This is the first message.\n\n"
            b"data: This is the second message, it\ndata: has two lines.\n\n"
            b"data: This is the third message.\n\n",
            [
                ("This is the first message.", None, None),
                ("This is the second message, it\nhas two lines.", None, None),
                ("This is the third message.", None, None),
            ],
        ),
        (
            b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\n",
            [("73857293", "add", None), ("2153", "remove", None)],
        ),
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("YHOO\n+2\n10", None, None)]),
        (
            b": test stream\n\ndata: first event\nid: 1\n\n"
            b"data:second event\nid\n\ndata:  third event\n\n",
            [("first event", None, "1"), ("second event", None, ""), (" third event", None, "")],
        ),
        (b"data\n\ndata\ndata\n\ndata:", [("", None, None), ("\n", None, None)]),
        (b"data:test\n\ndata: test\n\n", [("test", None, None)] * 2),
    ],
)
def test_the_examples_of_the_specification(stream, expected):
    assert parts(stream) == expected


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\r\rdata: b\r\n\r\ndata: c\n\n", ["a", "b", "c"]),
        (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", ["b"]),  # only one BOM
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", ["a"]),  # and only at the start
        (b"data: \xe2\x80\xa8\xc2\x85\x0b\x0c\n\n", ["\u2028\u0085\x0b\x0c"]),
        (b"data: \xff\xfe\n\n", ["\ufffd\ufffd"]),
        (b": comment\n\n: another\n\n", []),
        (b"id: 1\n\n: ping\n\nevent: x\n\n", []),  # no phantom events
        (b"retry: 5\n\n", []),
        (b"data: a\n", []),  # not ended
        (b"data: a\nid: 1", []),
        (b"unknown: x\ndata: a\nData: b\n data: c\n\n", ["a"]),
        (b"data:a:b: c\n\n", ["a:b: c"]),
        (b"\n\n\r\n\rdata: a\n\n", ["a"]),
        (b"\xef\xbb", []),
        (b"", []),
    ],
)
def test_the_rules(stream, expected):
    assert [data for data, _, _ in parts(stream)] == expected


def test_ids_stick_and_count_without_data_too():
    assert parts(b"id: 1\ndata: a\n\ndata: b\n\nid: 2\n\ndata: c\n\nid\ndata: d\n\n") == [
        ("a", None, "1"),
        ("b", None, "1"),
        ("c", None, "2"),
        ("d", None, ""),
    ]
    assert parts(b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n")[1] == ("b", None, "1")
    decoder = EventDecoder()
    decoder.feed(b"id: 7\n")
    assert decoder.last_event_id is None  # its block has not ended
    decoder.feed(b"\n")
    assert decoder.last_event_id == "7"


@pytest.mark.parametrize(
    ("field", "retry"),
    [
        (b"100", 100),
        (b"0", 0),
        (b"-5", None),
        (b"1_000", None),
        (b"+1", None),
        (b" 1", None),
        (b"1 ", None),
        (b"", None),
        (b"1.5", None),
        ("١".encode(), None),  # noqa: RUF001
        (b"9" * 5000, None),
    ],
)
def test_retry_is_digits_only(field, retry):
    decoder = EventDecoder()
    (event,) = decoder.feed(b"retry: " + field + b"\ndata: x\n\ndata: y\n\n")[:1]
    assert decoder.retry == event.retry == retry


def test_what_is_unfinished_is_seen():
    decoder = EventDecoder()
    decoder.feed(b"data: a\n\n")
    assert not decoder.in_event
    decoder.feed(b"data: b\n")
    assert decoder.in_event


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize(
    "endless", [b"data: " + b"x" * 5000, b"data: x\n" * 500, b"x" * 5000, b": " + b"c" * 5000]
)
def test_an_event_has_a_largest_size(step, endless):
    decoder = EventDecoder(max_event_bytes=1000)
    assert decoder.feed(b"data: fits\n\n" * 1000)

    def feed_all() -> None:
        for start in range(0, len(endless), step):
            decoder.feed(endless[start : start + step])

    with pytest.raises(EventTooLarge, match="1000 bytes"):
        feed_all()
    with pytest.raises(EventTooLarge):
        decoder.feed(b"\n\ndata: later\n\n")


def test_a_long_stream_of_comments_is_no_large_event():
    decoder = EventDecoder(max_event_bytes=1000)
    for _ in range(5000):
        decoder.feed(b": ping\n")
    assert decoder.feed(b"data: a\n\n")


def test_decoding_byte_by_byte_is_linear():
    decoder = EventDecoder()
    for _ in range(200_000):
        decoder.feed(b"x")
    assert decoder.feed(b"\ndata: a\n\n")[0].data == "a"


# --- encoding ------------------------------------------------------------------------------------


class Model(BaseModel):
    a: int


@pytest.mark.parametrize(
    ("event", "frame"),
    [
        (ServerSentEvent("x"), b"data: x\n\n"),
        (ServerSentEvent("x", "e", "1", 5, "c"), b": c\nevent: e\nid: 1\nretry: 5\ndata: x\n\n"),
        (ServerSentEvent("a\nb\r\nc\rd\n"), b"data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"),
        (ServerSentEvent(""), b"data: \n\n"),
        (ServerSentEvent({"a": [1, None]}), b'data: {"a":[1,null]}\n\n'),
        (ServerSentEvent(Model(a=1)), b'data: {"a":1}\n\n'),
        (ServerSentEvent(0), b"data: 0\n\n"),
        (ServerSentEvent("\u2028"), "data: \u2028\n\n".encode()),
        (ServerSentEvent({"a": "\u2028\u2029\u0085"}), b'data: {"a":"\\u2028\\u2029\\u0085"}\n\n'),
        (ServerSentEvent(comment="ping"), b": ping\n"),
        (ServerSentEvent(comment="a\nb"), b": a\n: b\n"),
        (ServerSentEvent(retry=10), b"retry: 10\n"),
        (ServerSentEvent(id="7"), b"id: 7\n\n"),
        (ServerSentEvent(), b""),
    ],
)
def test_encoding(event, frame):
    assert event.encode() == frame


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"id": "a\nb"}, "one line"),
        ({"id": "a\rb"}, "one line"),
        ({"id": "a\0"}, "NUL"),
        ({"id": 7}, "str"),
        ({"event": "a\nb"}, "one line"),
        ({"event": 1}, "str"),
        ({"comment": 1}, "str"),
        ({"retry": True}, "milliseconds"),
        ({"retry": -1}, "milliseconds"),
        ({"retry": 1.5}, "milliseconds"),
        ({"retry": "1"}, "milliseconds"),
        ({"data": "\ud800"}, "surrogate"),
        ({"event": "\udfff"}, "surrogate"),
    ],
)
def test_what_cannot_be_framed_is_a_value_error(fields, why):
    with pytest.raises(ValueError, match=why):
        ServerSentEvent(**fields)


def test_infinities_are_null_in_json():
    assert dumps([float("inf"), float("nan")]) == b"[null,null]"


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
name = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=8)
events = st.builds(
    ServerSentEvent,
    data=text,
    event=st.none() | name.filter(bool),
    id=st.none() | name,
    retry=st.none() | st.integers(0, 10**12),
    comment=st.none() | text,
)


@given(st.lists(events, max_size=6), st.lists(st.integers(1, 9), max_size=60))
def test_encoder_and_decoder_are_a_pair(sent, cuts):
    data = b"".join(event.encode() for event in sent)
    decoder, received, start = EventDecoder(), [], 0
    for cut in [*cuts, len(data)]:
        received += decoder.feed(data[start : start + cut])
        start += cut
    assert not decoder.in_event
    last_id = None
    assert len(received) == len(sent)
    for event, back in zip(sent, received, strict=True):
        last_id = event.id if event.id is not None else last_id
        lines = event.data.replace("\r\n", "\n").replace("\r", "\n")
        assert (back.data, back.event, back.id, back.retry) == (
            lines,
            event.event,
            last_id,
            event.retry,
        )


@given(st.binary(max_size=200), st.integers(1, 7))
def test_any_bytes_read_the_same_however_they_are_cut(data, step):
    assert decode(data) == decode(data, step)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_a_byte_at_a_time_is_the_same_whatever_the_line_ends(end):
    wire = end.join([b"id: 1", b"data: a", b"data: b", b"", b"", b"data: c", b"", b""])
    whole = EventDecoder().feed(wire)
    decoder = EventDecoder()
    assert [e for at in range(len(wire)) for e in decoder.feed(wire[at : at + 1])] == whole
    assert [event.data for event in whole] == ["a\nb", "c"]


@given(
    wire=st.lists(
        st.sampled_from(
            [b"\r", b"\n", b"\r\n", b"data: x", b"data", b": c", b"id: 1", b"\xef\xbb"]
        ),
        max_size=12,
    ).map(b"".join),
    cuts=st.lists(st.integers(0, 60), max_size=12),
)
def test_any_cuts_of_any_line_ends_are_the_same(wire, cuts):
    decoder, events, last = EventDecoder(), [], 0
    for cut in sorted(cuts):
        events += decoder.feed(wire[last:cut])
        last = max(last, min(cut, len(wire)))
    assert events + decoder.feed(wire[last:]) == EventDecoder().feed(wire)


def test_a_line_feed_after_one_that_ended_a_carriage_return_counts():
    decoder = EventDecoder()
    assert decoder.feed(b"data: a\r") == []
    assert decoder.feed(b"\n") == []
    assert [event.data for event in decoder.feed(b"\n")] == ["a"]


def test_events_before_one_that_is_too_large_are_not_lost_with_it():
    wire = b"data: one\n\ndata: two\n\ndata: " + b"x" * 50 + b"\n\ndata: never\n\n"
    decoder = EventDecoder(max_event_bytes=20)
    assert [event.data for event in decoder.feed(wire)] == ["one", "two"]
    assert decoder.in_event, "it must not look like a clean end"
    for chunk in (b"", b"data: x\n\n"):
        with pytest.raises(EventTooLarge):
            decoder.feed(chunk)
    with pytest.raises(EventTooLarge):
        EventDecoder(max_event_bytes=20).feed(b"data: " + b"x" * 50)


def test_names_and_ids_of_other_kinds_of_str_go_out_as_what_they_are():
    class Kind(str, enum.Enum):  # noqa: UP042  (a StrEnum formats as its value, this does not)
        TICK = "tick"

    class Sly(str):
        __slots__ = ()

        def __format__(self, spec):
            return "a\ndata: forged"

        def __str__(self):
            return "a\ndata: forged"

    assert ServerSentEvent(1, event=Kind.TICK, id=Kind.TICK).encode() == (
        b"event: tick\nid: tick\ndata: 1\n\n"
    )
    assert ServerSentEvent(Kind.TICK, comment=Kind.TICK).encode() == b": tick\ndata: tick\n\n"
    assert ServerSentEvent(Sly("x"), event=Sly("e"), id=Sly("i")).encode() == (
        b"event: e\nid: i\ndata: x\n\n"
    )


def test_a_retry_may_have_leading_zeros():
    decoder = EventDecoder()
    decoder.feed(b"retry: 00000000000000000000250\n")
    assert decoder.retry == 250
    decoder.feed(b"retry: 0\n")
    assert decoder.retry == 0
    decoder.feed(b"retry: 99999999999999999999\n")
    assert decoder.retry == 0


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize(
    "wire",
    [
        b": " + b"c" * 1200 + b"\ndata: a\n\n",
        b"x" * 1200 + b"\ndata: a\n\n",
        b"retry: " + b"0" * 1200 + b"5\ndata: a\n\n",
        b"data: " + b"x" * 900 + b"\n: " + b"c" * 200 + b"\n\n",
        b"data: " + b"x" * 900 + b"\n" + b"unknown" * 30 + b"\n\n",
    ],
)
def test_a_line_too_large_is_told_however_it_is_cut(wire, step):
    decoder = EventDecoder(max_event_bytes=1000)

    def feed_all() -> None:
        for start in range(0, len(wire), step):
            decoder.feed(wire[start : start + step])

    with pytest.raises(EventTooLarge):
        feed_all()
    assert decoder.retry is None


@pytest.mark.parametrize("line", [b"retry: 1\n", b"unknown: x\n", b"unknown\n"])
def test_lines_that_belong_to_no_event_are_no_large_event(line):
    decoder = EventDecoder(max_event_bytes=100)
    for _ in range(100):
        decoder.feed(line)
    assert decoder.feed(line * 100 + b"data: a\n\n")[0].data == "a"


def test_a_reconnection_time_is_of_its_own_block_only():
    (event,) = EventDecoder().feed(b"retry: 5\n\ndata: a\n\n")
    assert event.retry is None


@pytest.mark.parametrize(
    ("start", "unfinished"),
    [
        (b"id: 1\n", True),
        (b"id\n", True),
        (b"event: x\n", True),
        (b"event\n", True),
        (b"data\n", True),
        (b"retry: 5\n", False),
        (b": ping\n", False),
        (b"unknown\n", False),
        (b": pi", True),
        (b"id: 1\n\n", False),
    ],
)
def test_every_field_of_an_event_makes_it_unfinished(start, unfinished):
    decoder = EventDecoder()
    decoder.feed(start)
    assert decoder.in_event is unfinished
    decoder = EventDecoder()
    decoder.feed(b"id: 1\ndata: x\n\n" + start)
    assert decoder.in_event is unfinished


@given(
    wire=st.lists(
        st.sampled_from([b"\r", b"\n", b"\r\n", b"data: xyz", b"event: e", b": c" * 9, b"u" * 22]),
        max_size=12,
    ).map(b"".join),
    cuts=st.lists(st.integers(0, 120), max_size=12),
)
def test_the_largest_size_is_the_same_however_it_is_cut(wire, cuts):
    def read(*bounds):
        decoder, events, last = EventDecoder(max_event_bytes=20), [], 0
        try:
            for bound in (*bounds, len(wire)):
                events += decoder.feed(wire[last:bound])
                last = max(last, bound)
            decoder.feed(b"")
        except EventTooLarge:
            return events, "too large"
        return events, decoder.in_event

    assert read(*sorted(cuts)) == read()


@pytest.mark.parametrize("exponent", [15, 5000])
def test_a_reconnection_time_that_no_decoder_would_take_is_refused(exponent):
    with pytest.raises(ValueError, match="milliseconds"):
        ServerSentEvent(retry=10**exponent)
    last = ServerSentEvent("x", retry=10**15 - 1)
    assert EventDecoder().feed(last.encode()) == [last]
