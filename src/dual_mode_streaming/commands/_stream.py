"""`dual-mode stream URL`: the events as they come, resumed where an earlier read stopped."""

import enum
import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dual_mode_streaming.commands._errors import (
    ExitCode,
    fail,
    needed,
    note,
    note_wait,
    one_line_errors,
    write,
)
from dual_mode_streaming.commands._request_options import (
    Attempts,
    Data,
    Header,
    HTTPRequest,
    Method,
    ReadTimeout,
    Resume,
    Url,
    request_from,
)
from dual_mode_streaming.commands._resume_file import ResumeFile

if TYPE_CHECKING:
    from dual_mode_streaming.client import Dialect, Event, EventStream


class ServerKind(enum.StrEnum):
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
        bool, typer.Option("--json", help="Print each event as a JSON object: event, id, data.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Print the bytes as they come; do not reconnect.")
    ] = False,
    resume: Resume = None,
    max_events: Annotated[
        int | None, typer.Option("--max-events", min=1, help="Stop after this number of events.")
    ] = None,
    server: Annotated[
        ServerKind,
        typer.Option(
            help="How the server ends a stream: by an end event (dual-mode), by [DONE] (openai), "
            "by closing (plain), or never (event-source)."
        ),
    ] = ServerKind.DUAL_MODE,
    timeout: ReadTimeout = 45.0,
    attempts: Attempts = 5,
) -> None:
    """Read a stream of events and print the data of each one as it comes.

    If the connection is cut, reconnect and continue after the last event.
    """
    with one_line_errors():
        if raw and (as_json or resume is not None):
            fail("--raw cannot be combined with --json or --resume", ExitCode.USAGE)
        with needed("cli"):
            import dual_mode_streaming.client  # noqa: F401
        request = request_from(url, method, data, header)
        dialect = _dialect(server)
        if raw:
            from dual_mode_streaming.commands._raw import copy

            return copy(request, dialect, max_events, timeout)
        position = None if resume is None else ResumeFile.load(resume, request)
        if position is not None and position.outcome is not None:
            note(f"dual-mode: {position.path} says that this stream was read to its end")
            raise SystemExit(0 if position.outcome in _COMPLETE else int(ExitCode.BROKEN))
        form = json_line if as_json else data_line
        _read(request, dialect, position, max_events, form, timeout, attempts)


_COMPLETE = ("done", "no-content", "eof")
_BODY_HEADERS = ("content-type", "content-length", "content-encoding", "idempotency-key")


def _dialect(server: ServerKind) -> "Dialect":
    from dual_mode_streaming.client import DUAL_MODE, FOREIGN, WHATWG, Dialect

    return {
        ServerKind.DUAL_MODE: DUAL_MODE,
        ServerKind.OPENAI: Dialect(end_data="[DONE]", eof="truncated"),
        ServerKind.PLAIN: FOREIGN,
        ServerKind.EVENT_SOURCE: WHATWG,
    }[server]


def _read(
    request: HTTPRequest,
    dialect: "Dialect",
    position: ResumeFile | None,
    max_events: int | None,
    form: Callable[["Event[str]"], str],
    timeout: float,
    attempts: int,
) -> None:
    from dual_mode_streaming.client import DualModeClient, Reconnect, StreamReset, StreamTruncated

    url, options = _resumed(request, position)
    policy = Reconnect(attempts=attempts, on_wait=note_wait)
    start, count = time.monotonic(), 0
    with DualModeClient(dialect=dialect, reconnect=policy, read_timeout=timeout) as client:
        events = client.stream(url, keep=0, **options)
        try:
            for event in events:
                write(form(event))
                count += 1
                _save(position, events)
                if count == max_events:
                    break
        except StreamReset as error:
            if position is not None:
                hint = f"remove {position.path} to read the stream from its beginning"
                fail(f"{error}; {hint}", ExitCode.BROKEN)
            raise
        except StreamTruncated as error:
            if dialect.eof == "truncated" and not error.__cause__:
                note("dual-mode: does this server end its streams in another way? See --server")
            raise
    if sys.stderr.isatty():
        again = f", {events.reconnects} reconnections" if events.reconnects else ""
        note(f"{count} events in {time.monotonic() - start:.2f} s{again}; {events.outcome}")
    if events.outcome == "closed":
        return
    _save(position, events)
    if events.outcome not in _COMPLETE:
        fail(f"the stream is not complete: {events.outcome}", ExitCode.BROKEN)


def _resumed(request: HTTPRequest, position: ResumeFile | None) -> tuple[str, dict[str, Any]]:
    """Return the URL and the options with which to continue at the position."""
    options: dict[str, Any] = request.options() | {"method": request.method}
    if position is None:
        return request.url, options
    if position.location is not None:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _BODY_HEADERS}
        return position.location, {"last_event_id": position.last_event_id, "headers": headers}
    options["last_event_id"] = position.last_event_id
    if position.idempotency_key is not None:
        options["headers"] = {"Idempotency-Key": position.idempotency_key} | request.headers
    return request.url, options


def _save(position: ResumeFile | None, events: "EventStream[str]") -> None:
    if position is None:
        return
    position.last_event_id = events.last_event_id
    position.location = events.location or position.location
    # "interrupted" means that this server process stopped: another one may continue the stream.
    ended = events.outcome not in (None, "closed", "interrupted")
    position.outcome = events.outcome if ended else None
    position.save()


def data_line(event: "Event[str]") -> str:
    """Return the data of the event as a line."""
    return event.data + "\n"


def json_line(event: "Event[str]") -> str:
    """Return the event as a JSON object; its data as JSON if it is JSON, else as text."""
    try:
        data = json.loads(event.data)
    except (ValueError, RecursionError):
        data = event.data
    names = {"event": event.event, "id": event.id}
    values = {name: value for name, value in names.items() if value is not None}
    return json.dumps(values | {"data": data}, ensure_ascii=False) + "\n"
