"""`dual-mode publish URL`: add messages to a channel, each of them once."""

import contextlib
import json
import secrets
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dual_mode_streaming.commands._errors import (
    ExitCode,
    fail,
    needed,
    note,
    one_line_errors,
    write,
)
from dual_mode_streaming.commands._request_options import Attempts, Header, Url, request_from

if TYPE_CHECKING:
    import httpx

    from dual_mode_streaming.commands._remote_channel import RemoteChannel

LONGEST_KEY: Final = 256


def publish(
    url: Url,
    data: Annotated[
        str | None,
        typer.Argument(
            help="The message: JSON, or text. Without it, or with -, each line of stdin is one.",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        bool, typer.Option("--text", help="Publish the message as text, also if it is JSON.")
    ] = False,
    key: Annotated[
        str | None,
        typer.Option(
            help="Publish once: what was published with this key is not published again.",
            metavar="KEY",
        ),
    ] = None,
    close: Annotated[
        bool, typer.Option("--close", help="Close the channel afterwards: its readers end.")
    ] = False,
    header: Header = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.001, help="Wait this long for each answer.")
    ] = 30.0,
    attempts: Attempts = 5,
) -> None:
    """Publish messages in a channel, and print the cursor of each one.

    If the channel does not exist, it is created. Each line of stdin is published at once.
    """
    with one_line_errors():
        with needed("cli"):
            from dual_mode_streaming.commands._remote_channel import RemoteChannel, channel_hints
        if key is not None and not (
            key.isascii() and key.isprintable() and 0 < len(key.strip()) == len(key) <= LONGEST_KEY
        ):
            fail(
                f"--key must be 1 to {LONGEST_KEY} printable ASCII characters without spaces around"
                f" them, not {key!r:.80}",
                ExitCode.USAGE,
            )
        request = request_from(url, "POST", None, header)
        messages: Iterator[tuple[str, str]]
        if data is None and close and sys.stdin.isatty():
            messages = iter(())  # only to close it
        elif data in (None, "-"):
            messages = _lines()
        else:
            messages = iter([(data, "the message")])
        with channel_hints(), RemoteChannel(request, timeout, attempts) as channel:
            Publisher(channel, key or secrets.token_hex(16), text=text).run(messages, close=close)


class Publisher:
    """Publishes messages in one channel, as an idempotent producer of the protocol.

    Args:
        channel: the channel.
        producer: the name of the producer: a repetition of its messages adds nothing.
        text: whether each message is text.
    """

    def __init__(self, channel: "RemoteChannel", producer: str, *, text: bool) -> None:
        self._channel = channel
        self._producer = producer
        self._text = text
        self._type = "application/json"
        self._sequence = 0
        self._is_known = False  # the channel is there, and its type is known

    def run(self, messages: Iterator[tuple[str, str]], *, close: bool) -> None:
        """Publish each message with its cursor on stdout, and then close the channel."""
        published = repeated = 0
        for message, where in messages:
            if any("\ud800" <= each <= "\udfff" for each in message):  # bytes that are no text
                fail(f"{where} is not UTF-8", ExitCode.USAGE)
            response = self._send(message, where)
            if response.status_code == 204:
                repeated += 1
            else:
                published += 1
                write(response.headers.get("stream-next-offset", "") + "\n")
        if repeated:
            note(f"dual-mode: {repeated} published before with this key: not added again")
        elif not published and not close:
            note("dual-mode: stdin has no line: nothing is published")
        if close:
            self._append(b"", {"Stream-Closed": "true"})

    def _send(self, message: str, where: str) -> "httpx.Response":
        from dual_mode_streaming.errors import RequestRefused

        headers = {
            "Producer-Id": self._producer,
            "Producer-Epoch": "0",
            "Producer-Seq": str(self._sequence),
            "Idempotency-Key": f"{self._producer}.{self._sequence}",  # it may be sent again
        }
        try:
            response = self._append(self._body(message), headers)
        except (RequestRefused, _NotJSON) as error:
            is_not_json = isinstance(error, _NotJSON)
            may_differ = is_not_json or getattr(error, "status", None) == 409
            if not may_differ or not self._has_other_type():
                if is_not_json:
                    fail(f"{where} is not JSON: {error}; with --text it is text", ExitCode.USAGE)
                raise
            response = self._append(self._body(message), headers)
        self._is_known = True
        self._sequence += 1
        return response

    def _has_other_type(self) -> bool:
        """Take the content type of the channel; return whether it is another one."""
        from dual_mode_streaming.errors import RequestRefused

        before = self._type
        if not self._is_known:
            with contextlib.suppress(RequestRefused):
                found = self._channel.request("HEAD").headers.get("content-type")
                self._type = found or before
        return self._type != before

    def _append(self, body: bytes, headers: dict[str, str]) -> "httpx.Response":
        from dual_mode_streaming.errors import RequestRefused

        headers = {"Content-Type": self._type} | headers
        try:
            return self._channel.request("POST", headers, content=body)
        except RequestRefused as refusal:
            if refusal.status != 404 or self._is_known:
                raise
        self._channel.request("PUT", {"Content-Type": self._type, "Idempotency-Key": "put"})
        self._is_known = True
        return self._channel.request("POST", headers, content=body)

    def _body(self, message: str) -> bytes:
        if self._type.partition(";")[0].strip() != "application/json":
            return message.encode()
        # A JSON array in a body is several messages: so that of one message is an array of one.
        return b"[%b]" % (json.dumps(message).encode() if self._text else _json(message))


class _NotJSON(ValueError):
    """The message looks like JSON, and is not."""


def _json(message: str) -> bytes:
    """Return the message as JSON; what does not look like JSON is text. Raises _NotJSON."""
    try:
        json.loads(message, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        if message.lstrip()[:1] in ("{", "[", '"'):
            raise _NotJSON(str(error)) from None
        return json.dumps(message).encode()
    return message.encode()


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _lines() -> Iterator[tuple[str, str]]:
    """Yield the lines of stdin as they come, without the empty ones."""
    if sys.stdin.isatty():
        note("dual-mode: each line that you type is published; Ctrl-D ends")
    for number, line in enumerate(sys.stdin.buffer, 1):
        if stripped := line.rstrip(b"\r\n"):
            yield stripped.decode("utf-8", "surrogateescape"), f"line {number}"
