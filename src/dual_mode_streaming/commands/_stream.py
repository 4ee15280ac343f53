"""`dual-mode stream URL`: events as they come, and further from where an earlier read stopped."""

import enum
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dual_mode_streaming.commands._cursor import Cursor
from dual_mode_streaming.commands._errors import Code, fail, manners, needed, note, write
from dual_mode_streaming.commands._request_options import (
    Asked,
    Attempts,
    Data,
    Header,
    Method,
    Silence,
    Url,
    asked,
)

if TYPE_CHECKING:
    from dual_mode_streaming.client import Dialect, Event, EventStream

__all__ = ["Server", "stream"]


class Server(enum.StrEnum):
    """How a server ends a stream."""

    DUAL_MODE = "dual-mode"
    OPENAI = "openai"
    PLAIN = "plain"
    EVENT_SOURCE = "event-source"


def stream(
    url: Url,
    method: Method = None,
    data: Data = None,
    header: Header = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="An object a line: event, id, data.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="The bytes as they come; no second try.")
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option(help="Keep the place in this file, and go on from there.", metavar="FILE"),
    ] = None,
    max_events: Annotated[
        int | None, typer.Option("--max-events", min=1, help="Leave after so many.")
    ] = None,
    server: Annotated[
        Server,
        typer.Option(
            help="How it ends: by its events, by [DONE], by closing, or never (event-source)."
        ),
    ] = Server.DUAL_MODE,
    timeout: Silence = 45.0,
    attempts: Attempts = 5,
) -> None:
    """Read a stream of events: the data of each on stdout, a line or more, as it comes.

    A connection that is cut is made again and goes on behind the last event.
    """
    with manners():
        if raw and (as_json or resume is not None):
            fail("--raw goes with neither --json nor --resume", Code.USAGE)
        with needed("cli"):
            import dual_mode_streaming.client  # noqa: F401
        ask = asked(url, method, data, header)
        if raw:
            from dual_mode_streaming.commands._raw import copy

            return copy(ask, _dialect(server), max_events, timeout)
        place = None if resume is None else Cursor.load(resume, ask)
        if place is not None and place.outcome is not None:
            note(f"dual-mode: {place.path} says that this stream was read to its end")
            raise SystemExit(0 if place.outcome in _WHOLE else int(Code.BROKEN))
        _read(
            ask, _dialect(server), place, max_events, _line if as_json else _data, timeout, attempts
        )


_WHOLE = ("done", "no-content", "eof")
_OF_THE_BODY = ("content-type", "content-length", "content-encoding", "idempotency-key")


def _dialect(server: Server) -> "Dialect":
    from dual_mode_streaming.client import DUAL_MODE, FOREIGN, WHATWG, Dialect

    return {
        Server.DUAL_MODE: DUAL_MODE,
        Server.OPENAI: Dialect(end_data="[DONE]", eof="truncated"),
        Server.PLAIN: FOREIGN,
        Server.EVENT_SOURCE: WHATWG,
    }[server]


def _read(
    ask: Asked,
    dialect: "Dialect",
    place: Cursor | None,
    max_events: int | None,
    line: Callable[["Event[str]"], str],
    timeout: float,
    attempts: int,
) -> None:
    from dual_mode_streaming.client import DualModeClient, Reconnect, StreamReset, StreamTruncated

    options: dict[str, Any] = ask.options() | {"method": ask.method}
    url = ask.url
    if place is not None:
        options["last_event_id"] = place.last_event_id
        if place.claim is not None:
            options["headers"] = {"Idempotency-Key": place.claim} | ask.headers
        if place.location is not None:
            url = place.location
            headers = {k: v for k, v in ask.headers.items() if k.lower() not in _OF_THE_BODY}
            options = {"last_event_id": place.last_event_id, "headers": headers}
    tally = _Tally()
    policy = Reconnect(attempts=attempts)
    with DualModeClient(dialect=dialect, reconnect=policy, read_timeout=timeout) as client:
        events = client.stream(url, keep=0, **options)
        try:
            for event in events:
                write(line(event))
                tally.count += 1
                _keep(place, events)
                if tally.count == max_events:
                    break
        except StreamReset as error:
            if place is not None:
                fail(f"{error}; remove {place.path} to read it from its beginning", Code.BROKEN)
            raise
        except StreamTruncated as error:
            if dialect.eof == "truncated" and not error.__cause__:
                note("dual-mode: a server of another kind? see --server")
            raise
    tally.tell(events)
    if events.outcome == "closed":
        return
    _keep(place, events)
    if events.outcome not in _WHOLE:
        fail(f"the stream is not whole: {events.outcome}", Code.BROKEN)


def _keep(place: Cursor | None, events: "EventStream[str]") -> None:
    if place is None:
        return
    place.last_event_id = events.last_event_id
    place.location = events.location or place.location
    # "interrupted" is the server's own going away: the stream may go on in another one.
    ended = events.outcome not in (None, "closed", "interrupted")
    place.outcome = events.outcome if ended else None
    place.save()


def _data(event: "Event[str]") -> str:
    return event.data + "\n"


def _line(event: "Event[str]") -> str:
    """The event as an object; its data as JSON if it is, else as text."""
    try:
        data = json.loads(event.data)
    except (ValueError, RecursionError):
        data = event.data
    given = {"event": event.event, "id": event.id, "data": data}
    told = {name: value for name, value in given.items() if value is not None or name == "data"}
    return json.dumps(told, ensure_ascii=False) + "\n"


class _Tally:
    """What a person at a terminal is told at the end."""

    def __init__(self) -> None:
        self.count = 0
        self._start = time.monotonic()

    def tell(self, events: "EventStream[str]") -> None:
        if not sys.stderr.isatty():
            return
        seconds = time.monotonic() - self._start
        again = f", connected again {events.reconnects} times" if events.reconnects else ""
        note(f"{self.count} events in {seconds:.2f} s{again}; {events.outcome}")
