"""The provider for Anthropic's messages API, by its SDK.

The SDK sends the request; the bytes of the answer are read here, because the SDK's objects lose or
refuse what they do not expect.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

import anthropic

from dual_mode_streaming.llm._events import StreamEvent
from dual_mode_streaming.llm._readers import AnthropicReader, object_of
from dual_mode_streaming.llm._requests import ChatMessage, ChatRequest, NamedTool
from dual_mode_streaming.llm.providers._failures import as_provider_errors
from dual_mode_streaming.llm.providers._reading import read_stream, read_whole

_THINKING_TOKENS: Final = 1024  # the minimum of the API


class AnthropicProvider:
    """A provider that calls `api.anthropic.com`, or a compatible server at `base_url`.

    Args:
        api_key: the key. The SDK's own search for credentials is not used.
        model: the model of a request that names none.
        base_url: the URL of the API; Anthropic's if None.
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
        self._sdk = anthropic.AsyncAnthropic(
            api_key=api_key, base_url=base_url, max_retries=0, timeout=timeout
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sdk.close()

    async def models(self) -> list[str]:
        """Return the models that the API lists."""
        with as_provider_errors(anthropic):
            return [str(model.id) async for model in self._sdk.models.list()]

    async def count_tokens(self, request: ChatRequest) -> int:
        """Let the API count them."""
        body = self._body(request)
        counted = ("model", "messages", "system", "tools", "tool_choice", "thinking")
        arguments = {name: body[name] for name in counted if name in body}
        with as_provider_errors(anthropic):
            return (await self._sdk.messages.count_tokens(**arguments)).input_tokens

    def estimate_tokens(self, request: ChatRequest) -> int:
        """Return 0: only the API can count."""
        return 0

    async def complete(self, request: ChatRequest) -> StreamEvent:
        """Request the answer in one piece."""
        body, reader = self._body(request), AnthropicReader()
        with as_provider_errors(anthropic):
            create: Any = self._sdk.messages.with_streaming_response.create
            async with create(**body) as response:
                return await read_whole(response, reader)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Request the answer as a stream."""
        body, reader = self._body(request), AnthropicReader()
        with as_provider_errors(anthropic):
            create: Any = self._sdk.messages.with_streaming_response.create
            opened = create(**body, stream=True)
            async with opened as response, aclosing(read_stream(response, reader)) as events:
                async for event in events:
                    yield event
        for last in reader.end():
            yield last

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": request.model or self.default_model,
            "max_tokens": request.max_tokens or self._max_tokens,
            "messages": _messages(request.dialogue),
        }
        if request.system:
            body["system"] = request.system
        if request.stop:
            body["stop_sequences"] = list(request.stop)
        if request.tools:
            body["tools"] = [
                {"name": t.name, "description": t.description, "input_schema": t.parameters}
                for t in request.tools
            ]
            body["tool_choice"] = _tool_choice(request)
        if request.thinking:
            budget = {"type": "enabled", "budget_tokens": _THINKING_TOKENS}
            body["thinking"] = budget
            body["max_tokens"] = max(body["max_tokens"], _THINKING_TOKENS + 1)
        sampling = {"temperature": request.temperature, "top_p": request.top_p}
        if extra := {name: value for name, value in sampling.items() if value is not None}:
            body["extra_body"] = extra  # the SDK has no parameters for these
        return body


def _tool_choice(request: ChatRequest) -> dict[str, Any]:
    if isinstance(request.tool_choice, NamedTool):
        choice: dict[str, Any] = {"type": "tool", "name": request.tool_choice.name}
    else:
        choice = {"type": {"required": "any"}.get(request.tool_choice, request.tool_choice)}
    if not request.parallel_tool_calls and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    return choice


def _messages(dialogue: tuple[ChatMessage, ...]) -> list[dict[str, Any]]:
    """Convert messages; tool results become the user's, and adjacent ones of a role are joined."""
    messages: list[dict[str, Any]] = []
    for message in dialogue:
        role = "user" if message.role == "tool" else message.role
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += _blocks(message)
        else:
            messages.append({"role": role, "content": _blocks(message)})
    return messages


def _blocks(message: ChatMessage) -> list[dict[str, Any]]:
    if message.role == "tool":
        result = {"type": "tool_result", "tool_use_id": message.tool_call_id}
        return [{**result, "content": message.content}]
    blocks: list[dict[str, Any]] = []
    if message.content or not message.tool_calls:
        blocks.append({"type": "text", "text": message.content})
    for call in message.tool_calls:
        blocks.append(
            {
                "type": "tool_use",
                "id": call.id,
                "name": call.name,
                "input": object_of(call.arguments),
            }
        )
    return blocks
