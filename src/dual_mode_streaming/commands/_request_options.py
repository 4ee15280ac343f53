"""The options that describe a request, as curl has them: `-X`, `-d`, `-H`."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from dual_mode_streaming.commands._errors import ExitCode, fail, note, shown_url

Url = Annotated[str, typer.Argument(help="The URL; http:// may be left out.", show_default=False)]
Method = Annotated[
    str | None,
    typer.Option(
        "-X", "--request", help="HTTP method (default: GET; with -d POST).", metavar="METHOD"
    ),
]
Data = Annotated[
    list[str] | None,
    typer.Option("-d", "--data", help="Request body; @FILE reads a file, @- reads stdin."),
]
Header = Annotated[
    list[str] | None,
    typer.Option("-H", "--header", help="Request header 'Name: value'; may be repeated."),
]
ReadTimeout = Annotated[
    float,
    typer.Option("--timeout", min=0.001, help="Give up after this many seconds of silence."),
]
Resume = Annotated[
    Path | None,
    typer.Option(
        help="Save the position in FILE; the next call continues from it.", metavar="FILE"
    ),
]
Attempts = Annotated[
    int,
    typer.Option("--attempts", min=0, help="How often to try again before giving up."),
]


class HTTPRequest(NamedTuple):
    """A request that the command line describes."""

    method: str
    url: str
    headers: dict[str, str]
    content: bytes | None

    @property
    def is_safe(self) -> bool:
        """Whether the method only reads (RFC 9110, section 9.2.1)."""
        return self.method in ("GET", "HEAD", "OPTIONS")

    def options(self) -> dict[str, Any]:
        """Return the headers and the body as options of the clients."""
        body = {} if self.content is None else {"content": self.content}
        return {"headers": self.headers} | body


def request_from(
    url: str, method: str | None, data: list[str] | None, header: list[str] | None
) -> HTTPRequest:
    """Return the request; exit with a message if an option is not valid.

    Several `-d` are joined by `&`. The content type of a body is JSON if it is JSON, else that of a
    form, as curl's.
    """
    headers = dict(map(_header, header or ()))
    content = b"&".join(map(_content, data)) if data else None
    if content is not None and "content-type" not in {name.lower() for name in headers}:
        is_json = _is_json(content)
        if not is_json and content.lstrip()[:1] in (b"{", b"["):
            note("dual-mode: the body of -d looks like JSON, but is not: it is sent as a form")
        headers["Content-Type"] = (
            "application/json" if is_json else "application/x-www-form-urlencoded"
        )
    method = (method or ("GET" if content is None else "POST")).upper()
    if not method.isalpha():
        fail(f"-X {method!r} is not an HTTP method: use letters only, as in POST", ExitCode.USAGE)
    return HTTPRequest(method, full_url(url), headers, content)


def full_url(url: str) -> str:
    """Return the URL with its scheme; exit with a message if it is not one of HTTP."""
    import httpx

    whole = url if "://" in url else f"http://{url}"
    try:
        parsed = httpx.URL(whole)
    except httpx.InvalidURL as error:
        fail(f"{shown_url(url)!r} is not a URL: {error}", ExitCode.USAGE)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        fail(
            f"{shown_url(url)!r} is not an HTTP URL: use http://HOST or https://HOST",
            ExitCode.USAGE,
        )
    return whole


def http_options(timeout: float) -> dict[str, Any]:
    """Return the arguments of an httpx client that waits this many seconds for data."""
    import httpx

    return {"timeout": httpx.Timeout(min(10, timeout), read=timeout), "follow_redirects": True}


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    name, value = name.strip(), value.strip()
    plain = name.isascii() and name and not set(name) & set(" \t\r\n") and value.isprintable()
    if not colon or not plain:
        fail(f"-H {text!r} is not a header: use 'Name: value'", ExitCode.USAGE)
    return name, value


def _content(text: str) -> bytes:
    if text == "@-":
        return sys.stdin.buffer.read()
    if text.startswith("@"):
        try:
            return Path(text[1:]).read_bytes()
        except OSError as error:
            fail(f"-d {text} cannot be read: {error.strerror}", ExitCode.USAGE)
    return text.encode("utf-8", "surrogateescape")


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True
