"""One request to an API over HTTP: the SDK's client connects, and what comes is read here.

The SDKs' models are not used: they lose what they do not know, and are slower than the readers.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from types import ModuleType
from typing import Any, Final

import httpx2

from dual_mode_streaming.llm._events import StreamEvent, fold
from dual_mode_streaming.llm._forwarding import Answer, Forwarded, Origin, answered_headers
from dual_mode_streaming.llm._off_loop import off_loop
from dual_mode_streaming.llm._provider import ProviderError
from dual_mode_streaming.llm._readers import Reader, no_answer
from dual_mode_streaming.llm._requests import ChatRequest
from dual_mode_streaming.llm.providers._failures import as_provider_errors
from dual_mode_streaming.llm.providers._reading import read_chunks, read_stream

_UNREAD: Final = {"X-Stainless-Raw-Response": "stream"}  # the SDK leaves the body to its caller


class Upstream:
    """An API, called by the client of its SDK.

    Args:
        sdk: the module of the SDK.
        client: its client, which has the key, the URL and the timeouts.
    """

    def __init__(self, sdk: ModuleType, client: Any) -> None:
        self._sdk = sdk
        self._client = client

    async def input_tokens(self, path: str, body: dict[str, Any], request: ChatRequest) -> int:
        """Return the tokens of a request as the API counts them. Raises ProviderError."""
        async with self._answered(path, body, request) as response:
            answer = json.loads(await response.aread())
        tokens = answer.get("input_tokens") if isinstance(answer, dict) else None
        if not isinstance(tokens, int):
            raise no_answer()
        return tokens

    async def complete(
        self, path: str, body: dict[str, Any], request: ChatRequest, reader: Reader
    ) -> StreamEvent:
        """Return the MESSAGE_COMPLETE of an answer. Raises ProviderError."""
        async with (
            self._answered(path, body, request) as response,
            aclosing(read_stream(response, reader)) as events,
        ):
            return fold([*[event async for event in events], *reader.end()])

    async def stream(
        self, path: str, body: dict[str, Any], request: ChatRequest, reader: Reader
    ) -> AsyncGenerator[StreamEvent, None]:
        """Yield the events of a streamed answer. Raises ProviderError."""
        async with (
            self._answered(path, body, request) as response,
            aclosing(read_stream(response, reader)) as events,
        ):
            async for event in events:
                yield event
        for event in reader.end():
            yield event

    async def forward_whole(
        self, path: str, body: dict[str, Any], request: ChatRequest, reader: Reader
    ) -> Answer:
        """Return the body of an answer as it came. Raises ProviderError."""
        async with self._answered(path, body, request) as response:
            content = await response.aread()
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):  # no answer, or a stream all the same
            events = read_stream(_Read(content), reader)
            return fold([*[event async for event in events], *reader.end()])
        try:
            return Forwarded(value, (reader.whole(value),))
        except ProviderError as error:
            if value.get("error") and error.error_type != "authentication":  # it may quote the key
                error.body = value
            raise

    async def forward_stream(
        self,
        path: str,
        body: dict[str, Any],
        request: ChatRequest,
        reader: Reader,
        *,
        hides_usage: bool = False,
        last: str | None = None,
    ) -> AsyncGenerator[Answer, None]:
        """Yield the chunks of a streamed answer as they come.

        Args:
            path: the path of the API.
            body: the body.
            request: the request.
            reader: reads the chunks.
            hides_usage: whether the chunk that has only the usage is not for the caller.
            last: the type of the chunk without which a stream is not complete. It is added if the
                answer is complete all the same.

        Raises:
            ProviderError: the API refused, failed, or broke off.
        """
        is_streamed = False
        async with (
            self._answered(path, body, request) as response,
            aclosing(read_chunks(response, reader)) as chunks,
        ):
            async for chunk in chunks:
                if chunk.data is None:
                    for event in chunk.events:
                        yield event
                elif hides_usage and not chunk.events and _is_usage(chunk.data):
                    continue
                else:
                    is_streamed = True
                    yield chunk
        ending = reader.end()
        if not is_streamed:
            for event in ending:
                yield event
            return
        missing = last is not None and not reader.is_done
        yield Forwarded(json.dumps({"type": last}) if missing else None, tuple(ending), last)

    @asynccontextmanager
    async def _answered(
        self, path: str, body: dict[str, Any], request: ChatRequest
    ) -> AsyncIterator[httpx2.Response]:
        """Send a request, and close the answer in the end. Raises ProviderError."""
        origin = request.origin
        headers = {**_UNREAD, **({} if origin is None else origin.headers)}
        content = await off_loop(request.is_large, _encoded, body)
        with as_provider_errors(self._sdk):
            try:
                response: httpx2.Response = await self._client.post(
                    path, cast_to=httpx2.Response, content=content, options={"headers": headers}
                )
            except self._sdk.APIStatusError as error:
                _tell(origin, error.response.headers)
                raise
            _tell(origin, response.headers)
            try:
                yield response
            finally:
                await response.aclose()


def _encoded(body: dict[str, Any]) -> bytes:
    """Return a body as JSON. Raises ProviderError."""
    try:
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode()
    except (ValueError, RecursionError) as error:
        what = "a number that is not finite"
        if isinstance(error, UnicodeError):
            what = "a lone surrogate"
        elif isinstance(error, RecursionError):
            what = "values that are nested too deeply"
        message = f"the request cannot be sent as JSON: it has {what}"
        raise ProviderError(message, "invalid_request") from error


class _Read:
    """A body that has been read."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        yield self._content


def _tell(origin: Origin | None, headers: Mapping[str, str]) -> None:
    if origin is not None and origin.answered is not None:
        origin.answered(answered_headers(headers))


def _is_usage(data: str) -> bool:
    chunk = json.loads(data)
    return not chunk.get("choices") and bool(chunk.get("usage"))
