"""A request as curl's options tell it: `-X`, `-d`, `-H`."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from dual_mode_streaming.commands._errors import Code, fail

__all__ = ["Asked", "Attempts", "Data", "Header", "Method", "Silence", "Url", "asked", "full_url"]

Url = Annotated[str, typer.Argument(help="Where; http:// may be left out.", show_default=False)]
Method = Annotated[
    str | None,
    typer.Option("-X", "--request", help="The method. [GET, with -d POST]", metavar="METHOD"),
]
Data = Annotated[
    list[str] | None,
    typer.Option("-d", "--data", help="The body; @FILE for a file's, @- for stdin's."),
]
Header = Annotated[
    list[str] | None, typer.Option("-H", "--header", help="'Name: value', as often as needed.")
]
Silence = Annotated[
    float,
    typer.Option("--timeout", min=0.001, help="Seconds of silence after which it is given up."),
]
Attempts = Annotated[
    int, typer.Option("--attempts", min=0, help="How often in a row to come again after a cut.")
]


class Asked(NamedTuple):
    """A request that can be sent."""

    method: str
    url: str
    headers: dict[str, str]
    content: bytes | None

    @property
    def reads_only(self) -> bool:
        """Whether it may be sent again and nothing happens twice."""
        return self.method in ("GET", "HEAD", "OPTIONS")

    def options(self) -> dict[str, Any]:
        """It as the options of our clients, but for its method."""
        body = {} if self.content is None else {"content": self.content}
        return {"headers": self.headers} | body


def asked(url: str, method: str | None, data: list[str] | None, header: list[str] | None) -> Asked:
    """The request. Exits with a message if an option makes no sense.

    Several `-d` are joined by `&`. The body is called JSON if it is, else a form, as curl does.
    """
    headers = dict(map(_header, header or ()))
    content = b"&".join(map(_content, data)) if data else None
    if content is not None and "content-type" not in {name.lower() for name in headers}:
        headers["Content-Type"] = (
            "application/json" if _is_json(content) else "application/x-www-form-urlencoded"
        )
    method = (method or ("GET" if content is None else "POST")).upper()
    if not method.isalpha():
        fail(f"-X {method!r} is no method", Code.USAGE)
    return Asked(method, full_url(url), headers, content)


def full_url(url: str) -> str:
    """The URL with its scheme. Exits with a message if it is none."""
    import httpx

    whole = url if "://" in url else f"http://{url}"
    try:
        parsed = httpx.URL(whole)
    except httpx.InvalidURL as error:
        fail(f"{url!r} is no URL: {error}", Code.USAGE)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        fail(f"{url!r} is no URL of http or https", Code.USAGE)
    return whole


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    name, value = name.strip(), value.strip()
    plain = name.isascii() and name and not set(name) & set(" \t\r\n") and value.isprintable()
    if not colon or not plain:
        fail(f"-H {text!r} is not 'Name: value'", Code.USAGE)
    return name, value


def _content(text: str) -> bytes:
    if text == "@-":
        return sys.stdin.buffer.read()
    if text.startswith("@"):
        try:
            return Path(text[1:]).read_bytes()
        except OSError as error:
            fail(f"-d {text}: {error.strerror}", Code.USAGE)
    return text.encode("utf-8", "surrogateescape")


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True
