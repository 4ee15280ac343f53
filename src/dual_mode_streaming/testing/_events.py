"""Read the events of an httpx response, and assert how they end."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import httpx

from dual_mode_streaming.recordings import Cursor
from dual_mode_streaming.sse import RESERVED_EVENTS, EventDecoder, ServerSentEvent


async def read_events(response: httpx.Response) -> AsyncGenerator[ServerSentEvent, None]:
    """Yield the events of a streamed response as they arrive.

    The response stays open; the caller that opened it closes it.

    Raises:
        AssertionError: the response is not an event stream.
        httpx.HTTPError: the response broke off.
    """
    content_type = response.headers.get("content-type", "")
    if not content_type.startswith("text/event-stream"):
        await response.aread()
        raise AssertionError(
            f"not an event stream: {response.status_code} {content_type}: {response.text[:200]}"
        )
    decoder = EventDecoder()
    async for chunk in response.aiter_bytes():
        for event in decoder.feed(chunk):
            yield event


async def collect_events(
    response: httpx.Response, limit: int | None = None
) -> list[ServerSentEvent]:
    """Return all events of a response, or only the first `limit`."""
    events: list[ServerSentEvent] = []
    if limit == 0:
        return events
    async with aclosing(read_events(response)) as arriving:
        async for event in arriving:
            events.append(event)
            if len(events) == limit:
                break
    return events


def assert_done(events: Sequence[ServerSentEvent]) -> list[Any]:
    """Assert that the events end in `done` with the right count. Return the items, decoded.

    Named events count as items. Those before a `reset` are discarded, as a client does. The ids
    of a recorded stream say where the events begin (after a cursor, or joined late); `done` counts
    the items before that, too.
    """
    resets = [n for n, event in enumerate(events) if event.event == "reset"]
    since = resets[-1] + 1 if resets else 0
    items = [event for event in events[since:] if event.event not in RESERVED_EVENTS]
    last = events[-1] if events else None
    if last is None or last.event != "done":
        raise AssertionError(
            f"expected `done` after {len(items)} items, but the end is {_describe(last)}"
        )
    count = json.loads(last.data)["items"]
    begin = Cursor.parse((items[0] if items else last).id or "")
    before = 0 if begin is None else begin.sequence - 1
    if count != before + len(items):
        where = f" after the {before} before {begin}" if before else ""
        raise AssertionError(f"`done` counts {count} items, but {len(items)} arrived{where}")
    return [json.loads(item.data) for item in items]


def assert_error(events: Sequence[ServerSentEvent], status: int | None = None) -> dict[str, Any]:
    """Assert that the events end in `error`, with `status` if given. Return its problem."""
    last = events[-1] if events else None
    if last is None or last.event != "error":
        raise AssertionError(f"expected `error` at the end, but found {_describe(last)}")
    problem: dict[str, Any] = json.loads(last.data)
    if status is not None and problem.get("status") != status:
        raise AssertionError(f"expected an error of status {status}, but found {problem}")
    return problem


def _describe(event: ServerSentEvent | None) -> str:
    return "no event" if event is None else f"{event.event or 'an item'}: {event.data}"
