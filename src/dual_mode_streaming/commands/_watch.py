"""`dual-mode watch URL`: the messages of a channel, until it is closed."""

import enum
import itertools
from typing import Annotated

import typer

from dual_mode_streaming.commands._errors import (
    ExitCode,
    fail,
    needed,
    one_line_errors,
    shown_url,
    write,
)
from dual_mode_streaming.commands._request_options import (
    Header,
    ReadTimeout,
    Resume,
    Url,
    request_from,
)
from dual_mode_streaming.commands._resume_file import ResumeFile
from dual_mode_streaming.commands._stream import data_line, json_line


class Beginning(enum.StrEnum):
    """Where a reader begins."""

    START = "start"
    NOW = "now"


def watch(
    url: Url,
    after: Annotated[
        str | None,
        typer.Option(
            help="Begin after this cursor, which `publish` or `watch --json` has printed.",
            metavar="CURSOR",
        ),
    ] = None,
    from_: Annotated[
        Beginning | None,
        typer.Option("--from", help="Begin at the earliest message, or with the next (now)."),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", "--batch", help="Print what there is, and exit.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each message as a JSON object: id, data.")
    ] = False,
    resume: Resume = None,
    max_events: Annotated[
        int | None, typer.Option("--max-events", min=1, help="Stop after this number of messages.")
    ] = None,
    header: Header = None,
    timeout: ReadTimeout = 45.0,
    attempts: Annotated[
        int,
        typer.Option(
            "--attempts", min=0, help="How often to connect again without a new message in between."
        ),
    ] = 10,
) -> None:
    """Print the messages of a channel as they are published, until it is closed.

    If the connection is cut, reconnect and continue after the last message.
    """
    with one_line_errors():
        with needed("cli"):
            from dual_mode_streaming.commands._remote_channel import RemoteChannel, channel_hints
        if after is not None and from_ is not None:
            fail("--after and --from exclude each other: both say where to begin", ExitCode.USAGE)
        if after is not None and not (after and after.isascii() and after.isprintable()):
            fail(f"--after {after!r} is not a cursor", ExitCode.USAGE)
        request = request_from(url, "GET", None, header)
        form = json_line if as_json else data_line
        saved = None if resume is None else ResumeFile.load(resume, request)
        with channel_hints(), RemoteChannel(request, timeout, attempts) as channel:
            position = (saved and saved.last_event_id) or after or ""
            if not position and from_ is Beginning.NOW and not (position := channel.end()):
                fail(f"{shown_url(url)} is not a channel: --from now needs one", ExitCode.USAGE)
            events = channel.kept(position) if once else channel.follow(position)
            for event in itertools.islice(events, max_events):
                write(form(event))
                if saved is not None and event.id is not None:
                    saved.last_event_id = event.id
                    saved.save()
