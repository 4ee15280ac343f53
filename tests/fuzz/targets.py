"""What atheris gives any bytes: each reader of what others send, with what it promises of them."""

# ruff: noqa: PT017  (atheris catches nothing, and has no pytest)

import asyncio
import contextlib
import gzip
import json
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pydantic
import pydantic_core
from starlette.requests import Request

from dual_mode_streaming.channels._names import NameTemplate, check_name, stream_of
from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm import ChatRequest, ProviderError
from dual_mode_streaming.llm.simulator._script import Script
from dual_mode_streaming.llm.wire import AGUIRun, UIChat
from dual_mode_streaming.llm.wire._compressed import decompressed
from dual_mode_streaming.recordings import Cursor
from dual_mode_streaming.stores import NewStream, StreamInfo
from dual_mode_streaming.web._cursors import cursor_of
from dual_mode_streaming.web._json_size import JSONSize
from dual_mode_streaming.web.channels import _protocol
from dual_mode_streaming.web.channels._producers import Duplicate, WriteConditions

from . import seeds
from .making import cut
from .parsers import (
    FACES,
    LIMITS,
    TOKENS,
    one_cursor,
    one_mode,
    one_token,
    quickly,
    same_events,
    understood,
)
from .upstreams import FORMATS, same_end

STREAM = "0123456789abcdef" * 2


def value_of(data: bytes) -> Any:
    """Return JSON as a request is read; None if it is none."""
    with contextlib.suppress(ValueError):
        return pydantic_core.from_json(data, allow_inf_nan=False)


def decoder(data: bytes) -> None:
    """The first byte chooses the limit; however the others are cut, the events are the same."""
    same_events(data[1:], LIMITS[data[0] % len(LIMITS)] if data else None, Random(data))


def accept(data: bytes) -> None:
    text = data.decode("latin-1")
    one_mode(text, text)
    one_mode(text, text.split(","))


def cursors(data: bytes) -> None:
    one_cursor(data)
    cursor_of({"headers": [(b"last-event-id", data)], "query_string": data, "method": "GET"})


def tokens(data: bytes) -> None:
    one_token(data, f"/streams/{seeds.STREAM}")


def model_request(data: bytes) -> None:
    """The first byte chooses the API."""
    face, _ = list(FACES.values())[data[0] % len(FACES) if data else 0]
    if isinstance(body := value_of(data[1:]), dict):
        understood(face, body)


def front_end_request(data: bytes) -> None:
    """The first byte chooses between useChat and AG-UI; it is understood, or refused with a 4xx."""
    kind = (UIChat, AGUIRun)[data[0] % 2 if data else 0]
    body = value_of(data[1:])
    try:
        asked = kind.model_validate(body).chat()
    except pydantic.ValidationError:
        return
    except Problem as problem:
        assert 400 <= problem.status_code < 500
        problem.body["detail"].encode()
        return
    assert isinstance(asked, ChatRequest)
    asked.model_dump_json()


def upstream(data: bytes) -> None:
    """The first byte chooses the API whose answer it is, by its stream or as a whole."""
    reader, _ = FORMATS[data[0] % len(FORMATS) if data else 0]
    same_end(data[1:], cut(Random(data), data[1:]), reader)


def offsets(data: bytes) -> None:
    """An offset or a cursor is a position in the stream, or a 4xx."""
    text = data.decode("latin-1")
    new = NewStream(stream=STREAM, operation="channel", lifetime=3e9)
    info = StreamInfo(
        new=new,
        state="running",
        generations=((3, 1), (7, 5)),
        head=9,
        earliest=2,
        cancelling=False,
        lease=1,
    )
    try:
        position = quickly(_protocol.position_of, text, info)
    except Problem as problem:
        assert problem.status_code in (400, 410)
    else:
        assert 1 <= position.sequence <= 9
        assert text in ("-1", "now", _protocol.offset_of(position))
    shown = _protocol.cursor_shown(text, STREAM)
    assert shown is None or isinstance(shown, Cursor)
    assert int(_protocol.next_cursor(text)) > 0


HEADERS = (
    "content-type",
    "stream-ttl",
    "stream-expires-at",
    "stream-seq",
    "producer-id",
    "producer-epoch",
    "producer-seq",
)


def channel_request(data: bytes) -> None:
    """Seven lines are headers, the rest is the body: settings, conditions, messages, or a 4xx."""
    *lines, body = data.split(b"\n", len(HEADERS))
    given = [(n.encode(), v) for n, v in zip(HEADERS, lines, strict=False) if v]
    request = Request({"type": "http", "headers": given})
    try:
        conditions = WriteConditions.of(request)
        held = conditions.first_guess()
        conditions.marks(held)
        assert all(isinstance(value, str) for value in conditions.headers().values())
    except (Problem, Duplicate) as refused:
        assert not isinstance(refused, Problem) or 400 <= refused.status_code < 500
    try:
        config = _protocol.ChannelConfig.of_request(request)
        records = quickly(config.records, body)
    except Problem as problem:
        assert 400 <= problem.status_code < 500
        return
    again = _protocol.ChannelConfig(**json.loads(config.pack()))
    assert again == config
    joined = config.joined([record.data for record in records])
    if config.is_json:
        value = value_of(body)
        assert json.loads(joined) == (value if isinstance(value, list) else [value])
    else:
        assert joined == body


def names(data: bytes) -> None:
    """A name is one or is refused; a value of a parameter is one segment, and finds its name."""
    text, _, value = data.decode("utf-8", "replace").partition("\n")
    with contextlib.suppress(Problem):
        assert len(stream_of(check_name(text))) == 32
    try:
        template = NameTemplate(text)
    except ValueError:
        return
    with contextlib.suppress(Problem):
        name = template.fill(dict.fromkeys(template.parameters, value))
        assert check_name(name) == name
        assert template.has(name)
        assert name.count("/") == text.count("/")


FILE = Path(tempfile.gettempdir(), f"script-{id(object)}.toml")


def script(data: bytes) -> None:
    """A script is one, or a ValueError of one line; a recorded answer ends as any upstream's."""
    FILE.write_bytes(data)
    try:
        found = Script.load(FILE)
    except ValueError as error:
        assert str(error)
        return
    request = ChatRequest(messages=[{"role": "user", "content": "Hello"}])
    _, reply = found.next_reply(request)
    if reply is None or reply.recorded is None:
        return

    async def all_events() -> None:
        async for event in reply.recorded.events(0):
            event.model_dump_json()

    with contextlib.suppress(ProviderError):
        asyncio.run(all_events())


def body_size(data: bytes) -> None:
    """Values are counted the same in any pieces, and never fewer than there are."""
    ends = []
    for pieces in ([data], cut(Random(data), data), [data[n : n + 1] for n in range(len(data))]):
        size = JSONSize(20, is_json=True)
        try:
            for piece in pieces:
                size.feed(piece)
            ends.append(True)
        except Problem as problem:
            assert problem.status_code == 413
            ends.append(False)
    assert ends[0] == ends[1] == ends[2] or b"\0" in data
    value = value_of(data)
    if ends[0] and value is not None:
        assert count_of(value) <= 22


def count_of(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(count_of, value.values()))
    return 1 + sum(map(count_of, value)) if isinstance(value, list) else 1


CODINGS = ("gzip", "deflate", "zstd", "gzip, deflate", "x-gzip")


def compressed(data: bytes) -> None:
    """The first byte chooses the coding: the content, within its limit, or a 4xx."""
    coding = CODINGS[data[0] % len(CODINGS) if data else 0]
    try:
        assert len(quickly(decompressed, data[1:], coding, 10_000)) <= 10_000
    except Problem as problem:
        assert 400 <= problem.status_code < 500


_SCRIPT = b"""[[reply]]
match = "Hello"
text = "Hi"
failure = { status = 429, retry_after = 1, times = 2 }
[[reply]]
match = ""
[reply.recorded]
api = "openai-chat"
stream = true
chunks = [[0.1, 'data: {"choices":[{"delta":{"content":"a"}}]}

data: [DONE]

']]
"""
_UI = {
    "id": "c",
    "messages": [{"id": "u", "role": "user", "parts": [{"type": "text", "text": "x"}]}],
}
_TOOL = {"type": "tool-f", "toolCallId": "t", "state": "output-available", "input": {}, "output": 1}
_UI_TOOL = {
    "id": "c",
    "messages": [{"role": "assistant", "parts": [_TOOL, {"type": "step-start"}]}],
}
_FILE = {"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,AAAA"}
_UI_FILE = {"id": "c", "messages": [{"role": "user", "parts": [_FILE]}]}
_RUN = {"threadId": "t", "runId": "r", "state": {}, "tools": [], "context": [], "messages": []}
_RUN |= {"forwardedProps": {}}
_SAID = [
    {"id": "1", "role": "user", "content": "x"},
    {"id": "2", "role": "assistant", "toolCalls": [{"id": "c", "type": "function"}]},
    {"id": "3", "role": "tool", "toolCallId": "c", "content": "1"},
]


def _numbered(values: Any) -> list[bytes]:
    return [bytes([n]) + json.dumps(each).encode() for n, group in values for each in group]


TARGETS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "decoder": (decoder, [bytes([n]) + each for n in range(3) for each in seeds.EVENTS]),
    "accept": (accept, list(seeds.ACCEPTS)),
    "cursors": (cursors, [*seeds.CURSORS, b"lastEventId=1.2.3"]),
    "tokens": (tokens, list(TOKENS)),
    "model_request": (
        model_request,
        _numbered((n, known) for n, (_, known) in enumerate(FACES.values())),
    ),
    "front_end_request": (
        front_end_request,
        _numbered([(0, [_UI, _UI_TOOL, _UI_FILE]), (1, [_RUN, _RUN | {"messages": _SAID}])]),
    ),
    "upstream": (upstream, []),
    "offsets": (offsets, [b"-1", b"now", b"%016d_%016d" % (3, 4), STREAM.encode() + b".7.9"]),
    "channel_request": (
        channel_request,
        [
            b"application/json\n3600\n\n01\np\n0\n0\n[1,[2]]",
            b"text/plain\n\n2030-01-31T12:00:00Z\n\n\n\n\nbody",
        ],
    ),
    "names": (names, [b"orders/{id}\n7", b"a/b/c", "é/{x}/{y}\n💧".encode()]),
    "script": (script, [_SCRIPT]),
    "body_size": (body_size, [b'{"a":[1,2,"\\",\\\\"]}', b"[[],[[]]]"]),
    "compressed": (
        compressed,
        [b"\0" + gzip.compress(b"x" * 50, mtime=0), b"\1" + zlib.compress(b"abc")],
    ),
}
"""Of each target: the function, and what to begin with."""

for _n, (_, _shape) in enumerate(FORMATS):
    for _body in _shape(Random(_n), [("text", "Hi"), ("call", ("c", "f", {"a": 1}))]):
        _events = _body if isinstance(_body, list) else None
        _text = json.dumps(_body) if _events is None else ""
        _text += "".join(f"data: {json.dumps(each)}\n\n" for each in _events or ())
        TARGETS["upstream"][1].append(bytes([_n]) + _text.encode())
