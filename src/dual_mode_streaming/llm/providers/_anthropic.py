"""The provider for Anthropic's messages API, by the SDK's client."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

import anthropic

from dual_mode_streaming.llm._events import StreamEvent
from dual_mode_streaming.llm._forwarding import Answer
from dual_mode_streaming.llm._off_loop import off_loop
from dual_mode_streaming.llm._readers import AnthropicReader
from dual_mode_streaming.llm._requests import ChatRequest
from dual_mode_streaming.llm.providers._anthropic_body import anthropic_body
from dual_mode_streaming.llm.providers._failures import as_provider_errors
from dual_mode_streaming.llm.providers._upstream import Upstream

_URL: Final = "https://api.anthropic.com"
_MESSAGES: Final = "/v1/messages"
_COUNT: Final = "/v1/messages/count_tokens"
_COUNTED: Final = ("model", "messages", "system", "tools", "tool_choice", "thinking")


class AnthropicProvider:
    """A provider that calls `api.anthropic.com`, or a compatible server at `base_url`.

    It forwards requests in the wire format of messages.

    Args:
        api_key: the key. The SDK's own search for credentials is not used.
        model: the model of a request that names none.
        base_url: the URL of the API; Anthropic's if None. Variables of the SDK do not change it.
        max_tokens: the limit of a request that has none; the API requires one.
        connect_timeout: seconds to connect; `LLMClient` has the other timeouts.
    """

    name = "anthropic"

    def __init__(
        self,
        api_key: str,
        *,
        model: str | None = None,
        base_url: str | None = None,
        max_tokens: int = 4096,
        connect_timeout: float = 5,
    ) -> None:
        self.default_model = model or "claude-sonnet-5-5"
        self._max_tokens = max_tokens
        timeout = anthropic.Timeout(None, connect=connect_timeout)
        self._sdk: Any = anthropic.AsyncAnthropic(
            api_key=api_key, base_url=base_url or _URL, max_retries=0, timeout=timeout
        )
        self._sdk._custom_headers = {}  # which the SDK has read in the environment of the process
        self._upstream = Upstream(anthropic, self._sdk)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sdk.close()

    async def models(self) -> list[str]:
        """Return the models that the API lists."""
        with as_provider_errors(anthropic):
            return [str(model.id) async for model in self._sdk.models.list()]

    async def count_tokens(self, request: ChatRequest) -> int:
        """Let the API count them."""
        if request.origin is not None and self.forwards(request):
            counted = request.origin.body
        else:
            body = await self._body(request)
            counted = {name: body[name] for name in _COUNTED if name in body}
        return await self._upstream.input_tokens(_COUNT, counted, request)

    def estimate_tokens(self, request: ChatRequest) -> int:
        """Return 0: only the API can count."""
        return 0

    async def complete(self, request: ChatRequest) -> StreamEvent:
        """Request the answer in one piece."""
        body = await self._body(request)
        return await self._upstream.complete(_MESSAGES, body, request, AnthropicReader())

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Request the answer as a stream."""
        body = (await self._body(request)) | {"stream": True}
        events = self._upstream.stream(_MESSAGES, body, request, AnthropicReader())
        async with aclosing(events):
            async for event in events:
                yield event

    def forwards(self, request: ChatRequest) -> bool:
        """Return whether the request has the wire format of messages."""
        return request.origin is not None and request.origin.dialect == "anthropic"

    async def forward(self, request: ChatRequest, stream: bool) -> AsyncGenerator[Answer, None]:
        """Send the body as it came, and yield the answer as it comes."""
        body = request.origin.body if request.origin is not None else {}
        reader = AnthropicReader()
        if not stream:
            yield await self._upstream.forward_whole(_MESSAGES, body, request, reader)
            return
        items = self._upstream.forward_stream(_MESSAGES, body, request, reader, last="message_stop")
        async with aclosing(items):
            async for item in items:
                yield item

    async def _body(self, request: ChatRequest) -> dict[str, Any]:
        return await off_loop(
            request.is_large, anthropic_body, request, self.default_model, self._max_tokens
        )
