"""Read the body of an API's answer, whatever it is, with the reader of its format."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final, Protocol

from dual_mode_streaming.errors import EventTooLarge
from dual_mode_streaming.llm._events import StreamEvent
from dual_mode_streaming.llm._forwarding import Forwarded
from dual_mode_streaming.llm._provider import ProviderError
from dual_mode_streaming.llm._readers import Reader, error_from
from dual_mode_streaming.sse import EventDecoder

_LARGEST: Final = 64 * 1024 * 1024
"""The most bytes of an answer in one piece."""
_FIELDS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")
"""How Server-Sent Events begin."""


class _Body(Protocol):
    def aiter_bytes(self) -> Any: ...


async def read_chunks(body: _Body, reader: Reader) -> AsyncGenerator[Forwarded, None]:
    """Yield the chunks of a body with their events, all but the last ones: see `reader.end()`.

    The body tells what it is, not its content type: Server-Sent Events, or one JSON object, of a
    server that does not stream; the latter has events and no data. The reading ends where the API
    says so: a server may leave the connection open.

    Raises:
        ProviderError: it is neither, or an error.
    """
    decoder = EventDecoder()
    start: bytes | None = b""  # the whole body, unless it is Server-Sent Events
    noise = ""  # data that is no JSON
    ended = False
    async with aclosing(body.aiter_bytes()) as pieces:
        while not ended:
            piece = await anext(pieces, None)
            ended = piece is None
            if start is not None:
                start += piece or b""
                head = start.lstrip(b"\xef\xbb\xbf \t\r\n")
                if not head.startswith(_FIELDS):
                    if len(start) > _LARGEST:
                        raise ProviderError(
                            "the provider's answer is too large", "server", status=502
                        )
                    continue
                start, piece = None, head
            try:  # the last event may have no blank line behind it
                events = decoder.feed(b"\n\n" if piece is None else piece)
            except EventTooLarge as error:
                raise ProviderError(f"the provider sent {error}", "server", status=502) from error
            for event in events:
                chunks = _chunks_of(event.data, event.event)
                for chunk in chunks:
                    if isinstance(chunk, str) and chunk != "[DONE]" and event.event != "error":
                        noise = noise or chunk
                        continue
                    data = event.data if len(chunks) == 1 else json.dumps(chunk)
                    try:
                        read = tuple(reader.feed(chunk))
                    except ProviderError as error:
                        if error.error_type != "authentication":  # it may quote the key
                            error.body = {"name": event.event, "data": data}
                        raise
                    if chunk != "[DONE]":
                        yield Forwarded(data, read, event.event)
                    if reader.is_done:
                        return
    if start is not None:
        text = start.decode("utf-8-sig", "replace")
        chunks = _chunks_of(text)
        for chunk in chunks:
            whole = reader.feed(chunk) if len(chunks) > 1 else reader.feed_whole(chunk)
            yield Forwarded(None, tuple(whole))
    elif noise and not reader.has_reason:
        raise error_from(noise)


async def read_stream(body: _Body, reader: Reader) -> AsyncGenerator[StreamEvent, None]:
    """Yield the events of a body, all but the last ones, which `reader.end()` returns.

    Raises:
        ProviderError: it is no answer, or an error.
    """
    async with aclosing(read_chunks(body, reader)) as chunks:
        async for chunk in chunks:
            for event in chunk.events:
                yield event


def _chunks_of(text: str, name: str | None = None) -> list[Any]:
    """Return the JSON value of a text, or those of its lines; the text itself if it is no JSON."""
    try:
        chunks = [_json_of(text)]
    except (ValueError, RecursionError):
        try:  # servers that forget the blank line between events
            chunks = [_json_of(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError):
            chunks = [text.strip()]
    if name not in (None, "message"):
        for chunk in chunks:
            if isinstance(chunk, dict):
                chunk.setdefault("type", name)
    return chunks


def _json_of(text: str) -> Any:
    return "[DONE]" if text.strip() == "[DONE]" else json.loads(text)
