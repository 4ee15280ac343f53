"""A relay to an upstream that records the answers as a script of the simulator."""

import asyncio
import codecs
import contextlib
import json
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, Final

import httpx
import pydantic_core

from dual_mode_streaming.errors import DualModeError, Problem
from dual_mode_streaming.llm._forwarding import Dialect, answered_headers
from dual_mode_streaming.llm.simulator._recorded import fingerprints_of
from dual_mode_streaming.llm.simulator._script import Script, last_messages
from dual_mode_streaming.llm.wire._anthropic_messages import AnthropicMessages
from dual_mode_streaming.llm.wire._format import ModelFormat, WireRequest
from dual_mode_streaming.llm.wire._openai_chat import OpenAIChat
from dual_mode_streaming.llm.wire._openai_responses import OpenAIResponses
from dual_mode_streaming.llm.wire._parsing import parse_request
from dual_mode_streaming.sse import EventDecoder

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_FORMATS: Final[dict[str, ModelFormat]] = {
    "/chat/completions": OpenAIChat(),
    "/responses": OpenAIResponses(),
    "/messages": AnthropicMessages(),
}
_HOP: Final = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer")
) | {"transfer-encoding", "upgrade", "content-length", "host", "accept-encoding"}
_NOT_ANSWERED: Final = _HOP | {"content-encoding"}
_SECRET: Final = re.compile(r"auth|key|token|secret|cookie", re.IGNORECASE)
_ENDS: Final = (
    "message_stop",
    "response.completed",
    "response.incomplete",
    "response.failed",
)
"""The types of events that end an answer; one of chat completions ends with `[DONE]`."""
_WORD_WITH_DIGIT: Final = re.compile(r"\S*\d\S*")
_NOTHING: Final = re.compile(r"(?!)")
_LARGEST: Final = 64 * 1024 * 1024
"""The most bytes of a body; a larger answer passes, and is not recorded."""


class Recorder:
    """An ASGI app that passes requests on, and appends what is answered to a file.

    Only answers of chat completions, responses and messages are recorded, whole ones and those that
    the upstream cut. The file has no header of a request, and a credential that a body repeats is
    replaced.

    Args:
        upstream: the base URL; a path `/v1` at its end and at the start of a request is one.
        file: the script, which is made if there is none.
        note: called with a line for each request to an API.

    Raises:
        ValueError: the file is there and is no script, or its directory is not there.
    """

    def __init__(self, upstream: str, file: Path, note: Callable[[str], None]) -> None:
        if file.exists():
            Script.load(file)
        elif not file.parent.is_dir():
            raise ValueError(f"the directory of {file} does not exist")
        self._upstream = upstream.rstrip("/")
        self._file = file
        self._note = note
        timeout = httpx.Timeout(None, connect=10)
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        self._client = httpx.AsyncClient(timeout=timeout, cookies=no_cookies)
        self._client.headers.clear()  # those of the client's request, and no others

    async def aclose(self) -> None:
        """Close the connections to the upstream."""
        await self._client.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; when the client leaves, the connection to the upstream is closed."""
        if scope["type"] != "http":
            return
        if any(n == b"upgrade" and b"websocket" in v.lower() for n, v in scope["headers"]):
            # At this status, and at no other, Codex goes on with HTTP at once.
            await _refuse(send, 426, "WebSockets are not recorded: send the request with POST")
            return
        body = await _body_of(receive)
        if body is None:
            await _refuse(send, 413, f"the body has more than {_LARGEST} bytes")
            return
        passing = asyncio.create_task(self._pass(scope, body, send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait((passing, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (passing, leaving):
                task.cancel()
            await asyncio.wait((passing, leaving))
        if passing.cancelled():
            self._note(f"{scope['path']}: the client left, nothing is recorded")
        else:
            passing.result()

    async def _pass(self, scope: Scope, body: bytes, send: Send) -> None:
        headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in scope["headers"]]
        path, query = scope["path"], scope["query_string"].decode("latin-1")
        raw_path = scope["raw_path"].decode("latin-1")
        exchange = _RelayedCall.begin(scope["method"], path, query, body, headers)
        sent = [(name, value) for name, value in headers if name.lower() not in _HOP]
        request = self._client.build_request(
            scope["method"],
            f"{self._address(raw_path)}{'?' if query else ''}{query}",
            headers=[*sent, ("accept-encoding", "identity")],
            content=body,
        )
        try:
            response = await self._client.send(request, stream=True)
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            self._note(f"{scope['method']} {path}: the upstream cannot be reached: {reason}")
            await _refuse(send, 502, f"the upstream cannot be reached: {reason}")
            return
        async with contextlib.aclosing(response):
            answered = [
                (name.lower(), value)
                for name, value in response.headers.raw
                if name.decode("latin-1").lower() not in _NOT_ANSWERED
            ]
            start = {"type": "http.response.start", "status": response.status_code}
            await send({**start, "headers": answered})
            cut: httpx.TransportError | None = None
            try:
                async for chunk in _chunks(response):
                    if exchange is not None:
                        exchange.add(chunk)
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except httpx.TransportError as error:
                cut = error
            except asyncio.CancelledError:  # the client has left
                if exchange is None or not exchange.is_whole():
                    raise
        if exchange is not None:
            self._write(exchange, response, is_cut=cut is not None)
        if cut is None:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        # Otherwise the transfer ends without its last chunk: the client sees the same cut.

    def _address(self, path: str) -> str:
        is_double = self._upstream.endswith("/v1") and path.startswith("/v1/")
        return self._upstream + (path.removeprefix("/v1") if is_double else path)

    def _write(self, exchange: "_RelayedCall", response: httpx.Response, *, is_cut: bool) -> None:
        text = exchange.as_toml(response.status_code, response.headers, is_cut=is_cut)
        outcome = "its answer is too large to be recorded" if text is None else "recorded"
        self._note(f"{exchange.path} {exchange.model}: {response.status_code}, {outcome}")
        if text is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            with open(os.open(self._file, flags, 0o600), "ab") as file:
                file.write(text.encode())


class _RelayedCall:
    """A request to an API, and what came of its answer so far."""

    def __init__(
        self, path: str, api: Dialect, request: WireRequest, secrets: Iterable[str]
    ) -> None:
        self.path = path
        self.model = request.model
        self._api = api
        self._stream = request.stream
        self._last = last_messages(request.chat)
        self._request = request.chat
        self._is_result = request.chat.messages[-1].role == "tool"
        self._secrets = sorted(secrets, key=len, reverse=True)
        self._chunks: list[tuple[float, bytes]] = []
        self._bytes = 0
        self._then = time.monotonic()

    @classmethod
    def begin(
        cls, method: str, path: str, query: str, body: bytes, headers: list[tuple[str, str]]
    ) -> "_RelayedCall | None":
        """Return the exchange of a request; None if it is to no API that can be replayed."""
        wire = next((wire for end, wire in _FORMATS.items() if path.endswith(end)), None)
        if wire is None or method != "POST":
            return None
        try:
            value = pydantic_core.from_json(body, allow_inf_nan=False)
            request = parse_request(wire, value if isinstance(value, dict) else {}, {})
        except (ValueError, Problem):
            return None
        secrets = [*_secrets_of(headers), *_secrets_of(httpx.QueryParams(query).multi_items())]
        return cls(path, wire.dialect, request, secrets)

    def add(self, chunk: bytes) -> None:
        """Add what came just now."""
        now = time.monotonic()
        self._bytes += len(chunk)
        if self._bytes > _LARGEST:
            self._chunks.clear()
        else:
            self._chunks.append((now - self._then, chunk))
        self._then = now

    def is_whole(self) -> bool:
        """Return whether the answer has its end; clients leave there, before the transfer ends."""
        body = b"".join(chunk for _, chunk in self._chunks)
        with contextlib.suppress(ValueError):
            pydantic_core.from_json(body)
            return True
        last = None
        with contextlib.suppress(DualModeError):
            for event in EventDecoder().feed(body):
                last = event.data
        with contextlib.suppress(ValueError):
            value = pydantic_core.from_json(last or "")
            return isinstance(value, dict) and value.get("type") in _ENDS
        return last == "[DONE]"

    def as_toml(self, status: int, headers: Mapping[str, str], *, is_cut: bool) -> str | None:
        """Return the reply of a script; None if the answer was too large."""
        if self._bytes > _LARGEST:
            return None
        kept = {n: self._clean(value) for n, value in answered_headers(headers).items()}
        lines = [
            "[[reply]]",
            f"match = {_quoted(self._pattern())}",
            f"model = {_quoted(self.model)}",
            "[reply.recorded]",
            f"api = {_quoted(self._api)}",
            f"stream = {json.dumps(self._stream)}",
            f"status = {status}",
            f"headers = {{ {', '.join(f'{_quoted(n)} = {_quoted(v)}' for n, v in kept.items())} }}",
            f"cut = {json.dumps(is_cut)}",
            f"request = {json.dumps(fingerprints_of(self._request, self._clean))}",
            "chunks = [",
            *(f"  [{seconds:.3f}, {_quoted(text)}]," for seconds, text in self._texts()),
            "]",
        ]
        return "\n".join(lines) + "\n\n"

    def _pattern(self) -> str:
        """Return the regular expression of the last message, without a credential in it.

        Of the results of parallel tools, any may be the last one next time; and the words with a
        digit in them may be others: times, process ids.
        """
        varying = _WORD_WITH_DIGIT if self._is_result else _NOTHING
        patterns = []
        for last in self._last:
            parts = [last]
            for secret in self._secrets:
                parts = [piece for part in parts for piece in part.split(secret)]
            parts = [r"\S+".join(map(re.escape, varying.split(part))) for part in parts]
            patterns.append(".+?".join(parts))
        either = patterns[0] if len(patterns) == 1 else f"(?:{'|'.join(patterns)})"
        return rf"\A{either}\Z"

    def _texts(self) -> list[tuple[float, str]]:
        """Return the chunks as text: characters that were cut in two are with their end."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        texts = [(seconds, decoder.decode(chunk)) for seconds, chunk in self._chunks]
        texts.append((0.0, decoder.decode(b"", True)))
        whole = "".join(text for _, text in texts)
        if any(secret in whole for secret in self._secrets):
            cleaned = [(seconds, self._clean(text)) for seconds, text in texts]
            if self._clean(whole) == "".join(text for _, text in cleaned):
                texts = cleaned
            else:  # one is cut in two: its chunks become one
                texts = [(sum(seconds for seconds, _ in texts), self._clean(whole))]
        return [(seconds, text) for seconds, text in texts if text]

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[credential]")
        return text


def _secrets_of(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return the values that are credentials by their names: tokens, keys, cookies."""
    values = [value for name, value in pairs if _SECRET.search(name)]
    words = [word for value in values for word in re.split(r"[\s;,=]+", value)]
    return [word for word in (*values, *words) if len(word) > 5]


def _quoted(text: str) -> str:
    """Return a string of TOML: one of JSON, in which DEL is escaped, too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


async def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    async for chunk in response.aiter_bytes():
        if chunk:
            yield chunk


async def _body_of(receive: Receive) -> bytes | None:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _LARGEST:
            return None
        if not message.get("more_body"):
            return bytes(body)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse(send: Send, status: int, message: str) -> None:
    body = json.dumps({"type": "error", "error": {"type": "api_error", "message": message}})
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode()})
