"""What LaunchDarkly's contract tests ask of a client of event streams, case by case, in our words.

An event without a name has the name None here, and "message" there. Three cases have no
counterpart: comments are not given to the caller; a caller restarts a stream by opening it again;
and a POST whose stream has begun is not sent a second time, since it may have had an effect.
"""

import pytest

from dual_mode_streaming.client import WHATWG, Reconnect
from tests.helpers.scripted import Answer

pytestmark = pytest.mark.asyncio(loop_scope="package")

AT_ONCE = Reconnect(attempts=3, delay=0, max_wait=0.01, jitter=0)
ENDED = Answer(status=204, media=None)

# What is sent, in the pieces in which it is sent, and the events: (data, name, id).
PARSING = {
    "one line in one piece": (["data: Hello\n\n"], [("Hello", None, None)]),
    "one line in two pieces": (["data: Hel", "lo\n\n"], [("Hello", None, None)]),
    "two events in one piece": (
        ["data: Hello\n\ndata: World\n\n"], [("Hello", None, None), ("World", None, None)],
    ),
    "two lines": (["data: Hello\ndata:World\n\n"], [("Hello\nWorld", None, None)]),
    "empty data": (["data:\n\n"], [("", None, None)]),
    "a name": (["event: greeting\ndata: Hello\n\n"], [("Hello", "greeting", None)]),
    "an id": (["id: abc\ndata: Hello\n\n"], [("Hello", None, "abc")]),
    "a name and an id": (
        ["event: greeting\nid: abc\ndata: Hello\n\n"], [("Hello", "greeting", "abc")],
    ),
    "an id with a NUL": (["id: a\0bc\ndata: Hello\n\n"], [("Hello", None, None)]),
    "an id lasts": (
        ["id: abc\ndata: first\n\n", "data: second\n\n"],
        [("first", None, "abc"), ("second", None, "abc")],
    ),
    "an empty id ends it": (
        ["id: abc\ndata: first\n\n", "id: \ndata: second\n\n"],
        [("first", None, "abc"), ("second", None, "")],
    ),
    "fields in reverse order": (
        ["data: Hello\nid: abc\nevent: greeting\n\n"], [("Hello", "greeting", "abc")],
    ),
    "an unknown field": (
        ["event: greeting\ncolor: blue\ndata: Hello\n\n"], [("Hello", "greeting", None)],
    ),
    "no leading space": (["event:greeting\ndata:Hello\n\n"], [("Hello", "greeting", None)]),
    "one more leading space": (
        ["event:  greeting\ndata:  Hello\n\n"], [(" Hello", " greeting", None)],
    ),
    "no colon": (["data\n\ndata\ndata\n\n"], [("", None, None), ("\n", None, None)]),
    "characters of many bytes": (["data: €豆腐\n\n"], [("€豆腐", None, None)]),
    "many events at once": (
        ["".join(f"data: message {n}\n\n" for n in range(100))],
        [(f"message {n}", None, None) for n in range(100)],
    ),
    "comments around an event": ([":Hello\n:World\n", "data: 1\n\n", ":x\n"], [("1", None, None)]),
    "CR at the end of a piece": (
        ["data: Hello\r", "\ndata: World\r", "\n\r\ndata: OK\r", "\n", "\r", "\n"],
        [("Hello\nWorld", None, None), ("OK", None, None)],
    ),
}  # fmt: skip

BOM = b"\xef\xbb\xbf"
HELLO = [("Hello", None, None)]
AFTER_A_BOM = {
    "before the data": ([BOM + b"data: Hello\n\n"], HELLO),
    "none": ([b"data: Hello\n\n"], HELLO),
    "before a name and an id": (
        [BOM + b"event: greeting\nid: abc\ndata: Hello\n\n"], [("Hello", "greeting", "abc")],
    ),
    "before two events": (
        [BOM + b"data: 1\n\ndata: 2\n\n"], [("1", None, None), ("2", None, None)],
    ),
    "in later data": (
        [b"data: 1\n\n", b"data: " + BOM + b"2\n\n"],
        [("1", None, None), ("\ufeff2", None, None)],
    ),
    "before data with one": ([BOM + b"data: " + BOM + b"x\n\n"], [("\ufeffx", None, None)]),
    "in two pieces": ([BOM[:2], BOM[2:] + b"data: Hello\n\n"], HELLO),
    "in three pieces": ([BOM[:1], BOM[1:2], BOM[2:], b"data: Hello\n\n"], HELLO),
    "before two lines": ([BOM + b"data: 1\ndata: 2\n\n"], [("1\n2", None, None)]),
    "before a comment": ([BOM + b":comment\ndata: Hello\n\n"], HELLO),
    "before empty data": ([BOM + b"data:\n\n"], [("", None, None)]),
    "before an empty line": ([BOM + b"\n\ndata: Hello\n\n"], HELLO),
    "before a CR LF": ([BOM, b"\r", b"\ndata: Hello\r\n\r\n"], HELLO),
    "a part of one": ([BOM[:2], b"\ndata: Hello\n\n"], HELLO),
    "alone": ([BOM], []),
}  # fmt: skip

# `|` is the end of a line: LF, CR LF or CR.
LINES = {
    "data: event 1||": ["event 1"],
    "data: event 1||data: event 2 line 1|data: event 2 line 2||": [
        "event 1",
        "event 2 line 1\nevent 2 line 2",
    ],
    "data:|data: line2|data: line3||": ["\nline2\nline3"],
    "data: line1|data:|data: line3||": ["line1\n\nline3"],
    "data: event 1|||data: event 2||": ["event 1", "event 2"],
    "data: event 1||||data: event 2||": ["event 1", "event 2"],
}

SIZES = [1, 128, 512, 1023, 1024, 1025, 2048, 3999, 4094, 4096, 4098, 6144, 8189, 8192, 8195]
SIZES += [12288, 16384, 32768, 65536, 262144, 1048576]


async def read(server, harness, *chunks: bytes):
    """Send the chunks, and return the events of a client that comes again until 204."""
    server.then(Answer(chunks), ENDED)
    await harness.read(server.url, dialect=WHATWG, model=None, reconnect=AT_ONCE)
    return [(event.data, event.event, event.id) for event in harness.events]


def cut(text: str, size: int) -> list[bytes]:
    raw = text.encode()
    return [raw[n : n + size] for n in range(0, len(raw), size)]


async def test_parsing(server, harness):
    for name, (pieces, events) in PARSING.items():
        assert await read(server, harness, *map(str.encode, pieces)) == events, name
    single = cut("data: €豆腐\n\n", 1)
    assert await read(server, harness, *single) == [("€豆腐", None, None)]


async def test_a_byte_order_mark(server, harness):
    for name, (pieces, events) in AFTER_A_BOM.items():
        assert await read(server, harness, *pieces) == events, name
        single = [each.to_bytes() for each in b"".join(pieces)]
        assert await read(server, harness, *single) == events, name


async def test_every_stream_may_begin_with_a_byte_order_mark(server, harness):
    server.then(Answer([BOM + b"id: 1\ndata: a\n\n"]), Answer([BOM, b"data: b\n\n"]), ENDED)
    await harness.read(server.url, dialect=WHATWG, model=None, reconnect=AT_ONCE)
    assert harness.data == ["a", "b"]
    assert server.cursors == [None, "1", "1"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
async def test_line_ends(server, harness, end):
    for lines, data in LINES.items():
        wire = lines.replace("|", end)
        for size in len(wire), 1, 2:
            events = await read(server, harness, *cut(wire, size))
            assert [each[0] for each in events] == data, (lines, size)


async def test_payloads_of_any_size(server, harness):
    server.then(*(Answer([b"data: %b\n\n" % (b"x" * size)]) for size in SIZES), ENDED)
    await harness.read(server.url, dialect=WHATWG, model=None, reconnect=AT_ONCE)
    assert [len(data) for data in harness.data] == SIZES


async def test_the_first_request(server, harness):
    server.then(ENDED)
    await harness.read(server.url, dialect=WHATWG, model=None, headers={"X-One": "1", "X-Two": "2"})
    (asked,) = server.asked
    assert asked.method == "GET"
    assert asked.headers["accept"] == "text/event-stream"
    assert asked.headers["cache-control"] == "no-cache"
    assert "last-event-id" not in asked.headers
    assert (asked.headers["x-one"], asked.headers["x-two"]) == ("1", "2")


async def test_a_request_that_begins_after_an_id(server, harness):
    server.then(ENDED)
    await harness.read(server.url, dialect=WHATWG, model=None, last_event_id="abc")
    assert server.cursors == ["abc"]


@pytest.mark.parametrize("method", ["POST", "REPORT"])
async def test_a_request_with_a_body(server, harness, method):
    server.then(ENDED)
    typed = {"content-type": "application/json; charset=utf-8"}
    body = b'{"hello": "world"}'
    await harness.read(
        server.url, dialect=WHATWG, model=None, method=method, content=body, headers=typed
    )
    (asked,) = server.asked
    assert (asked.method, asked.body) == (method, body)
    assert asked.headers["content-type"] == typed["content-type"]


@pytest.mark.parametrize("rest", [[], [b"data: World\n\n"]])
async def test_the_last_id_is_sent_again_though_later_events_had_none(server, harness, rest):
    server.then(Answer([b"id: abc\ndata: Hello\n\n", *rest], then="cut"), ENDED)
    await harness.read(server.url, dialect=WHATWG, model=None, reconnect=AT_ONCE)
    assert server.cursors == [None, "abc"]
    assert {event.id for event in harness.events} == {"abc"}


async def test_a_stream_that_falls_silent_is_opened_again(server, harness):
    server.then(Answer([b"data: Hello\n\n"], then="hang"), ENDED)
    await harness.read(server.url, dialect=WHATWG, model=None, reconnect=AT_ONCE, read_timeout=1.5)
    assert harness.data == ["Hello"]
    assert len(server.asked) == 2
