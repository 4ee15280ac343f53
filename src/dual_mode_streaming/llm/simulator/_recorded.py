"""An answer as an upstream gave it: replayed as it came, or read as events for other APIs."""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from typing import Annotated, Any

from pydantic import Field

from dual_mode_streaming.llm._events import FrozenModel, StreamEvent
from dual_mode_streaming.llm._forwarding import Answer, Dialect, Forwarded
from dual_mode_streaming.llm._provider import CUT, ProviderError
from dual_mode_streaming.llm._readers import (
    AnthropicReader,
    ChatReader,
    Reader,
    ResponsesReader,
    error_from,
)
from dual_mode_streaming.llm._requests import ChatRequest, digested
from dual_mode_streaming.llm.providers._reading import read_chunks, read_stream

_READERS: dict[Dialect, type[Reader]] = {
    "openai-chat": ChatReader,
    "openai-responses": ResponsesReader,
    "anthropic": AnthropicReader,
}

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Recorded(FrozenModel):
    """A recorded answer; `dual-mode record` writes it.

    Attributes:
        api: the API that it was given in.
        stream: whether a stream was asked for.
        status: the HTTP status.
        headers: those of the answer that matter to a client.
        chunks: what came of the body, each with the seconds since the one before.
        cut: whether the connection broke off.
        request: the fingerprints of the request: of all of it, and of its conversation.
    """

    api: Dialect
    stream: bool = False
    status: int = Field(200, ge=200, le=599)
    headers: dict[str, str] = Field(default_factory=dict)
    chunks: tuple[tuple[Seconds, str], ...] = ()
    cut: bool = False
    request: tuple[str, ...] = ()

    def likeness(self, fingerprints: tuple[str, ...]) -> int:
        """Return 2 if it answered the same request, 1 the same conversation, 0 another one."""
        same = [one == other for one, other in zip(self.request, fingerprints, strict=False)]
        return len(same) - same.index(True) if True in same else 0

    def fits(self, request: ChatRequest) -> bool:
        """Return whether it can be given to the request as it came."""
        origin = request.origin
        is_same_api = origin is not None and origin.dialect == self.api
        return is_same_api and bool(origin and origin.body.get("stream")) == self.stream

    async def events(self, speed: float) -> AsyncGenerator[StreamEvent, None]:
        """Yield the events of the answer.

        Args:
            speed: how many times as fast as it came; 0 for no pause.

        Raises:
            ProviderError: it is a refusal or an error, or it was cut.
        """
        reader, body = _READERS[self.api](), _ReplayedBody(self, speed)
        await self._refuse(body)
        async with aclosing(read_stream(body, reader)) as events:
            async for event in events:
                yield event
        for event in reader.end():
            yield event

    async def forwarded(self, request: ChatRequest, speed: float) -> AsyncGenerator[Answer, None]:
        """Yield the answer as it came, to a request that it `fits`. Raises as `events` does."""
        reader, body = _READERS[self.api](), _ReplayedBody(self, speed)
        if request.origin is not None and request.origin.answered is not None:
            request.origin.answered(self.headers)
        await self._refuse(body)
        if self.stream:
            async with aclosing(read_chunks(body, reader)) as chunks:
                async for chunk in chunks:
                    if chunk.data is not None:
                        yield chunk
                        continue
                    for event in chunk.events:
                        yield event
            yield Forwarded(None, tuple(reader.end()))
            return
        value = _value_of(await body.text())
        if value is None:
            raise ProviderError("the recorded answer is no JSON object", "server", status=502)
        yield Forwarded(value, (reader.whole(value),))

    async def _refuse(self, body: "_ReplayedBody") -> None:
        if self.status < 400:
            return
        from dual_mode_streaming.llm.providers._failures import retry_after_of  # loads httpx2

        text = await body.text()
        error = error_from(text, self.status, retry_after_of(self.headers))
        raise ProviderError(
            str(error),
            error.error_type,
            status=self.status,
            retry_after=error.retry_after,
            body=_value_of(text),
            is_retryable=False,  # the client that saw it repeated its request, or did not
        )


def fingerprints_of(request: ChatRequest, cleaned: Callable[[str], str] = str) -> tuple[str, str]:
    """Return the fingerprints of a request and of its conversation, the same in every API.

    Args:
        request: the request. Earlier thinking does not count, nor how a text is cut into parts.
        cleaned: returns a text without what it must not have.
    """
    others = request.model_dump(mode="json", exclude={"messages"}, exclude_none=True)
    said = [digested(message) for message in request.messages]
    dialogue = [message for message in said if message["role"] != "system"]
    texts = [
        json.dumps(value, sort_keys=True)
        for value in ({**others, "messages": said}, [request.model, dialogue])
    ]
    whole, talk = (hashlib.sha256(cleaned(text).encode()).hexdigest() for text in texts)
    return whole, talk


class _ReplayedBody:
    """The body of a recorded answer, at its pace."""

    def __init__(self, recorded: Recorded, speed: float) -> None:
        self._recorded = recorded
        self._speed = speed

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        clock = asyncio.get_running_loop().time
        due = clock()
        for delay, text in self._recorded.chunks:
            if self._speed:
                due += delay / self._speed
                if (pause := due - clock()) > 0:
                    await asyncio.sleep(pause)
            yield text.encode()
        if self._recorded.cut:
            raise ProviderError("the connection broke off", "stream_truncated", status=CUT)

    async def text(self) -> str:
        return "".join([chunk.decode() async for chunk in self.aiter_bytes()])


def _value_of(text: str) -> Any:
    """Return the JSON object of a text, None if it is none."""
    with suppress(ValueError, RecursionError):
        value = json.loads(text)
        return value if isinstance(value, dict) else None
    return None
