"""What parses what others send: it takes anything, in bounded time, and says what it did."""

import contextlib
import gc
import json
import math
import time
from random import Random
from typing import Any

from starlette.exceptions import HTTPException

from dual_mode_streaming import EventDecoder, ServerSentEvent, TokenSigner
from dual_mode_streaming.errors import EventTooLarge, NotAcceptable, Problem
from dual_mode_streaming.llm.wire import (
    AnthropicMessages,
    ModelFormat,
    OpenAIChat,
    OpenAIResponses,
    parse_request,
)
from dual_mode_streaming.negotiation import Negotiated, ResponseMode, negotiate, parse_flag
from dual_mode_streaming.recordings import Cursor, StreamRecord
from dual_mode_streaming.sse import dumps
from dual_mode_streaming.web import END_ID

from . import seeds
from .making import any_json, any_text, bent, bent_json, cut
from .upstreams import upstreams

_SLOW = 2.0
"""Seconds of CPU that no parser may take for an input of some kilobytes."""


def quickly(function, *arguments):
    began = time.process_time()
    try:
        return function(*arguments)
    finally:
        spent = time.process_time() - began
        assert spent < _SLOW, f"{spent:.1f} s of CPU"


def held(thing: object) -> int:
    """The length of all text and bytes that an object holds, wherever it does."""
    total, seen, todo = 0, set(), gc.get_referents(thing)
    while todo:
        each = todo.pop()
        if id(each) not in seen:
            seen.add(id(each))
            if isinstance(each, str | bytes | bytearray):
                total += len(each)
            elif isinstance(each, list | tuple | dict):
                todo += gc.get_referents(each)
    return total


def decoder(rng: Random) -> None:
    """Any bytes, in any pieces, are the same events; what is kept is bounded."""
    same_events(bent(rng, seeds.EVENTS), rng.choice(LIMITS), rng)


LIMITS = (None, 50, 4000)


def same_events(text: bytes, limit: int | None, rng: Random) -> None:
    """Decode some bytes at once, cut as `rng` says, and byte by byte."""
    found = []
    for pieces in ([text], cut(rng, text), [text[i : i + 1] for i in range(len(text))][:400]):
        reading, events = EventDecoder(limit), []
        try:
            for piece in pieces:
                events += reading.feed(piece)
            reading.feed(b"")  # what a limit has still to say
        except EventTooLarge:
            assert limit is not None
            events.append(None)
        found.append((events, reading.last_event_id, reading.retry))
        assert held(reading) <= (limit or math.inf) + len(text) + 500  # and some names
    assert found[0] == found[1]
    if len(text) <= 400:
        assert found[0] == found[2]
    for event in found[0][0]:
        if event is not None:
            once_more(event)


def once_more(event: ServerSentEvent) -> None:
    """What was decoded can be sent again, and is the same."""
    again = EventDecoder().feed(event.encode())
    if event.retry is None and event.id is not None:
        assert again == [event]
    assert [each.data for each in again] == [event.data]


def encoder(rng: Random) -> None:
    """What can be framed is read again as it was; what cannot is a ValueError."""
    data = any_text(rng) if rng.random() < 0.6 else any_json(rng)
    fields = {name: any_text(rng) for name in ("event", "id", "comment") if rng.random() < 0.4}
    try:
        event = ServerSentEvent(data, **fields)
        frame = event.encode()
    except ValueError:
        return
    (read,) = EventDecoder().feed(b": before\n" + frame) if data is not None else (None,)
    if read is None:
        return
    written = data if isinstance(data, str) else dumps(data).decode()
    assert read.data == written.replace("\r\n", "\n").replace("\r", "\n")
    assert (read.event or "", read.id) == (fields.get("event", ""), fields.get("id"))


def accept(rng: Random) -> None:
    """An Accept header names a mode, or nothing that there is; so does the flag."""
    text = bent(rng, seeds.ACCEPTS, 10).decode("latin-1")
    if rng.random() < 0.01:
        text *= rng.randint(2, 2000)
    one_mode(text, text if rng.random() < 0.8 else text.split(","))


def one_mode(text: str, given: str | list[str]) -> None:
    """Negotiate, and read the text as a flag."""
    try:
        form = quickly(negotiate, given)
    except NotAcceptable:
        pass
    else:
        assert isinstance(form, Negotiated)
        assert isinstance(form.mode, ResponseMode)
    with contextlib.suppress(ValueError):
        assert parse_flag(text) in (True, False)


def cursors(rng: Random) -> None:
    """What is read as a cursor is written so; any payload is a record, or a ValueError."""
    one_cursor(bent(rng, seeds.CURSORS, 3))


def one_cursor(raw: bytes) -> None:
    """Read some bytes as a cursor, and as a record."""
    text = raw.decode("latin-1")
    cursor = quickly(Cursor.parse, text)
    assert cursor is None or str(cursor) == text
    assert END_ID.fullmatch(text) is None or (len(text) == 14 and text.isascii())
    try:
        record = StreamRecord.unpack(raw)
    except ValueError:
        return
    assert record.pack() == raw


FACES = {
    "chat": (OpenAIChat(), seeds.OPENAI_CHAT),
    "responses": (OpenAIResponses(), seeds.OPENAI_RESPONSES),
    "messages": (AnthropicMessages(), seeds.ANTHROPIC),
}


def faces(rng: Random) -> None:
    """Any JSON is understood, or refused with a 4xx in the face's own format."""
    face, known = FACES[rng.choice(list(FACES))]
    body = bent_json(rng, known)
    if isinstance(body, dict):
        understood(face, body)


def understood(face: ModelFormat, body: dict[str, Any]) -> None:
    """Read a request of a model's API."""
    refused = None
    try:
        origin = quickly(parse_request, face, body, {}).chat.origin
        refused = origin.problem  # raised where nobody takes the body as it came
    except Problem as refusal:
        refused = refusal
    if refused is not None:
        assert 400 <= refused.status_code < 500
        told = json.loads(dumps(face.error(refused, "req_0")))
        assert told["error"]["message"] == refused.detail


_SIGNER = TokenSigner("0123456789abcdef")
TOKENS = tuple(
    _SIGNER.sign(subject, f"/streams/{seeds.STREAM}").encode() for subject in ("", "a" * 32)
)


def tokens(rng: Random) -> None:
    """Any text is a token of ours, for one path, or a 401."""
    path = f"/streams/{seeds.STREAM}" if rng.random() < 0.8 else any_text(rng)
    one_token(bent(rng, TOKENS, 2), path)


def one_token(token: bytes, path: str) -> None:
    """Read some bytes as a token for a path."""
    refused = None
    try:
        grant = quickly(_SIGNER.read, token.decode("latin-1"), path)
    except HTTPException as error:
        refused = error
    if refused is None:
        assert (path, grant.subject) in {(f"/streams/{seeds.STREAM}", s) for s in ("", "a" * 32)}
    else:
        assert refused.status_code == 401


PARSERS = {
    each.__name__: each for each in (decoder, encoder, accept, cursors, faces, tokens, upstreams)
}
