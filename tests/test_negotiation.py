"""Accept negotiation by RFC 9110, section 12.5.1."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_mode_streaming import NotAcceptable, ResponseMode, detect_mode
from dual_mode_streaming.negotiation import negotiate

BATCH, STREAM, LINES = ResponseMode.BATCH, ResponseMode.STREAM, ResponseMode.LINES


@pytest.mark.parametrize(
    ("accept", "mode"),
    [
        (None, BATCH),
        ("", BATCH),
        (" , ,", BATCH),
        ("*/*", BATCH),
        ("application/json", BATCH),
        ("text/event-stream", STREAM),
        ("application/jsonl", LINES),
        ("application/x-ndjson", LINES),
        ("TEXT/Event-Stream", STREAM),
        ("text/event-stream; charset=utf-8", STREAM),
        ('text/event-stream;a="x,y;q=0"', STREAM),
        ("application/json;charset=utf-8", BATCH),
        ("text/*", STREAM),
        ("application/*", BATCH),
        ("text/event-stream;q=0, */*", BATCH),
        ("application/json;q=0, */*", STREAM),
        ("application/json, text/event-stream", STREAM),
        ("application/json, text/event-stream;q=0.9", BATCH),
        ("application/json;q=0.5, text/event-stream;q=0.4, application/jsonl;q=0.6", LINES),
        ("*/*, text/event-stream;q=0.5", BATCH),
        ("text/event-stream, */*;q=0.1", STREAM),
        ("text/event-stream;Q=0.1, application/json;q=0.2", BATCH),
        ("text/event-stream ; q=0.1 , application/json ; q=0.2", BATCH),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", BATCH),
        ("image/png, text/event-stream;q=0.001", STREAM),
        ("text/*;q=0.3, application/json;q=0.2", STREAM),
        ("text/event-stream;q=2, application/json", BATCH),  # no valid q: passed over
        ("text/event-stream;q=0.1234, application/json", BATCH),
        ("text/event-stream;q=x, application/json", BATCH),
        (["application/json;q=0.1", "text/event-stream"], STREAM),
        ([], BATCH),
    ],
)
def test_accept(accept, mode):
    assert detect_mode(accept) is mode


@pytest.mark.parametrize(
    "accept",
    ["image/png", "text/html", "*/*;q=0", "text/event-stream;q=0", "garbage", "application/xml"],
)
def test_nothing_acceptable(accept):
    with pytest.raises(NotAcceptable) as caught:
        detect_mode(accept)
    assert caught.value.status_code == 406
    assert "text/event-stream" in caught.value.available
    assert "application/json" in str(caught.value)


@pytest.mark.parametrize("accept", [None, "image/png", "application/json", "text/event-stream"])
def test_the_flag_wins_either_way(accept):
    assert detect_mode(accept, True) is STREAM
    assert detect_mode(accept, stream=False) is BATCH


def test_lines_are_answered_with_the_type_that_was_asked_for():
    assert negotiate("application/x-ndjson").media_type == "application/x-ndjson"
    assert negotiate("application/jsonl, */*;q=0.1").media_type == "application/jsonl"


JUNK = [
    "," * 100_000,
    ";" * 100_000,
    '"' * 100_000,
    " " * 100_000,
    "a/b," * 25_000,
    "a/b;q=" * 20_000,
    "text/event-stream;q=0.1," * 4_000,
    '\\"' * 50_000,
    "*/*;" * 25_000,
    "=" * 100_000,
]


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: junk[:8])
def test_junk_costs_next_to_nothing(junk):
    """In time of the processor, so that a busy machine says the same; usual are 2 ms."""
    times = []
    for _ in range(7):
        start = time.thread_time()
        try:
            detect_mode(junk)
        except NotAcceptable:
            pass
        times.append(time.thread_time() - start)
    assert min(times) < 0.1


@given(st.text(max_size=300) | st.text('q=0.15,;*/ atexn-vsrm"\\', max_size=300))
def test_anything_is_a_mode_or_not_acceptable(accept):
    try:
        assert detect_mode(accept) in ResponseMode
    except NotAcceptable:
        pass


def test_what_is_cut_off_an_overlong_header_is_not_misread():
    ranges = ",".join(f"a/b{n}" for n in range(3000))
    for pad in range(30):
        start = ranges[: 8192 - 40 - pad].rpartition(",")[0]
        start += "," + "x/" + "y" * (8192 - 40 - pad - len(start))
        accept = f"{start},application/json;q=0.9,{ranges}"
        # Whether or not JSON's range lies whole within the limit: never with another weight.
        got = detect_mode(f"text/event-stream;q=0.05,{accept}")
        assert got in (ResponseMode.STREAM, ResponseMode.BATCH)
    whole = "text/event-stream;q=0.5," + "a/b," * 2040
    cut = whole[: 8192 - 21] + "application/json;q=0.9"
    assert len(cut) == 8193
    assert detect_mode(cut) is ResponseMode.STREAM


@pytest.mark.parametrize(
    ("accept", "mode"),
    [
        # What we answer has no `version`: such a range says nothing against the plain one …
        ("application/json;version=1;q=0.1, application/json, text/event-stream;q=0.5", BATCH),
        ("application/json, application/json;version=1;q=0.1, text/event-stream;q=0.5", BATCH),
        ("text/event-stream;version=2;q=0, text/event-stream", STREAM),
        ("text/event-stream, text/event-stream;version=2;q=0", STREAM),
        # … nor against a wildcard …
        ("application/json;version=2;q=0, */*", BATCH),
        ("application/json;version=2;q=0.1, application/*;q=0.8, text/*;q=0.5", BATCH),
        ("*/*;version=2;q=0, */*, text/event-stream;q=0.5", BATCH),
        ("application/*;version=2;q=0, */*", BATCH),
        # … but alone, or where the wildcard is worth less, it is met as well as we can.
        ("text/event-stream;version=1, */*;q=0.1", STREAM),
        ("text/event-stream;version=1;q=0.5, application/json;q=0.4", STREAM),
        ("*/*;version=1", BATCH),
        # The charset is that of all we send; an empty parameter is none.
        ("text/event-stream;q=0.1;charset=UTF-8, text/event-stream, */*;q=0.5", BATCH),
        ('text/event-stream;charset="utf-8";q=0, */*;q=0.5, application/json;q=0', LINES),
        ("text/event-stream;;q=0.1;, text/event-stream, application/json;q=0.5", BATCH),
        # Of two plain ranges alike the first counts, as it did.
        ("text/event-stream;q=0.1, text/event-stream, application/json;q=0.5", BATCH),
    ],
)
def test_a_range_with_parameters_takes_nothing_from_a_plain_one(accept, mode):
    assert detect_mode(accept) is mode


def test_the_example_of_the_standard():
    """RFC 9110, 12.5.1: the media types and weights, with ours in their places."""
    accept = (
        "application/*;q=0.3, application/json;q=0.7, application/json;format=flowed, "
        "application/json;format=fixed;q=0.4, */*;q=0.5"
    )
    assert detect_mode(accept) is BATCH
    assert detect_mode(f"{accept}, text/event-stream;q=0.69") is BATCH
    assert detect_mode(f"{accept}, text/event-stream;q=0.71") is STREAM


@pytest.mark.parametrize(
    ("weight", "mode"),
    [
        ("0.5", STREAM),
        (".5", STREAM),  # as java.net.HttpURLConnection sends it: `*/*; q=.2`
        (".", BATCH),
        ("", BATCH),
        ("1.", STREAM),
        ("1.000", STREAM),
        ("1.001", BATCH),
        ("1.0000", BATCH),
        ("0.", BATCH),
        ("00.5", BATCH),
        ("nan", BATCH),
        ("inf", BATCH),
        ("5e-1", BATCH),
        ("0.\u0665", BATCH),
        ("+0.5", BATCH),
        ("-0", BATCH),
        ('"0.5"', BATCH),
    ],
)
def test_weights(weight, mode):
    assert detect_mode(f"text/event-stream;q={weight}, application/json;q=0.1") is mode


def test_the_default_header_of_java_is_met():
    assert detect_mode("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2") is BATCH


def test_an_overlong_header_is_not_cut_within_quotes():
    inside = 'text/event-stream;a="' + "x," * 5000 + '";q=0.1'
    assert detect_mode(f"application/json;q=0.5,{inside}") is BATCH


@pytest.mark.parametrize(
    "accept",
    ["image/" + "x" * 9000, 'text/event-stream;a="' + "x" * 9000 + '"', "," * 20 + "a/b;" * 9000],
)
def test_an_overlong_range_is_no_missing_header(accept):
    with pytest.raises(NotAcceptable):
        detect_mode(accept)


@pytest.mark.parametrize("blank", [" ", ",", "\t, "])
def test_an_overlong_header_that_names_nothing_is_no_header(blank):
    assert detect_mode(blank * 9000) is BATCH
