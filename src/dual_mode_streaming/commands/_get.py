"""`dual-mode get URL`: the batch document."""

import json
import sys
from typing import Annotated

import typer

from dual_mode_streaming.commands._errors import needed, note_wait, one_line_errors, write
from dual_mode_streaming.commands._request_options import (
    Attempts,
    Data,
    Header,
    Method,
    ReadTimeout,
    Url,
    http_options,
    request_from,
)


def get(
    url: Url,
    method: Method = None,
    data: Data = None,
    header: Header = None,
    indent: Annotated[
        bool | None,
        typer.Option("--indent/--no-indent", help="Indent the JSON (default: on a terminal)."),
    ] = None,
    timeout: ReadTimeout = 330.0,
    attempts: Attempts = 2,
) -> None:
    """Read the answer of an endpoint as one JSON document."""
    with one_line_errors():
        with needed("cli"):
            import httpx

            from dual_mode_streaming.client import DualModeClient, Reconnect
        request = request_from(url, method, data, header)
        responses: list[httpx.Response] = []
        hooks = {"response": [responses.append]}
        policy = Reconnect(attempts=attempts, on_wait=note_wait)
        with (
            httpx.Client(**http_options(timeout), event_hooks=hooks) as http,
            DualModeClient(http_client=http, reconnect=policy) as client,
        ):
            document = client.request(request.method, request.url, **request.options())
        if not responses[-1].content:  # for example 204
            return
        if sys.stdout.isatty() if indent is None else indent:
            write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
        else:  # as the server sent it
            write(responses[-1].text.strip() + "\n")
