"""`dual-mode get URL`: the batch document."""

import json
import sys
from typing import Annotated, Any

import typer

from dual_mode_streaming.commands._errors import manners, needed, write
from dual_mode_streaming.commands._request_options import (
    Attempts,
    Data,
    Header,
    Method,
    Silence,
    Url,
    asked,
)

__all__ = ["get"]


def get(
    url: Url,
    method: Method = None,
    data: Data = None,
    header: Header = None,
    indent: Annotated[
        bool | None,
        typer.Option("--indent/--no-indent", help="Over several lines. [on a terminal]"),
    ] = None,
    timeout: Silence = 330.0,
    attempts: Attempts = 2,
) -> None:
    """Read the whole answer of an endpoint, as one JSON document."""
    with manners():
        with needed("cli"):
            import httpx

            from dual_mode_streaming.client import Reconnect
            from dual_mode_streaming.client._batch import Batch
            from dual_mode_streaming.client._calls import Call
            from dual_mode_streaming.client._options import own_client
            from dual_mode_streaming.client._sync import fetch
        ask = asked(url, method, data, header)
        headers = httpx.Headers({"Accept": "application/json"} | ask.headers)
        call = Call(method=ask.method, url=ask.url, headers=headers, content=ask.content)
        wide = sys.stdout.isatty() if indent is None else indent
        settings = own_client("", None) | {"timeout": httpx.Timeout(min(10, timeout), read=timeout)}
        with httpx.Client(**settings) as http:
            read = _indented if wide else _checked
            document = fetch(http, Batch(call, read, policy=Reconnect(attempts=attempts)))
        if document is not None:  # a 204 has none
            write(document + "\n")


def _checked(text: str) -> str:
    """The text as it came, if it is JSON."""
    _parsed(text)
    return text.strip()


def _indented(text: str) -> str:
    return json.dumps(_parsed(text), ensure_ascii=False, indent=2)


def _parsed(text: str) -> Any:
    from dual_mode_streaming.client import UnreadableAnswer

    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswer("the answer", text) from error
