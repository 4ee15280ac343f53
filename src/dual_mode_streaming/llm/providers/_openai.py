"""The provider for OpenAI's chat completions API: OpenAI, Ollama, vLLM and others, by the SDK."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import openai

from dual_mode_streaming.llm._events import StreamEvent
from dual_mode_streaming.llm._readers import ChatReader
from dual_mode_streaming.llm._requests import ChatMessage, ChatRequest, NamedTool
from dual_mode_streaming.llm.providers._failures import as_provider_errors
from dual_mode_streaming.llm.providers._reading import read_stream, read_whole
from dual_mode_streaming.llm.simulator._tokens import count_text


class OpenAIProvider:
    """A provider that calls `api.openai.com`, or a compatible server at `base_url`.

    Args:
        api_key: the key; local servers usually accept any.
        model: the model of a request that names none.
        base_url: the URL of the API; OpenAI's if None.
        connect_timeout: seconds to connect; `LLMClient` has the other timeouts.
    """

    name = "openai"

    def __init__(
        self,
        api_key: str,
        *,
        model: str | None = None,
        base_url: str | None = None,
        connect_timeout: float = 5,
    ) -> None:
        self.default_model = model or "gpt-5.4-mini"
        timeout = openai.Timeout(None, connect=connect_timeout)
        self._sdk = openai.AsyncOpenAI(
            api_key=api_key, base_url=base_url, max_retries=0, timeout=timeout
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sdk.close()

    async def models(self) -> list[str]:
        """Return the models that the API lists."""
        with as_provider_errors(openai):
            return [str(model.id) async for model in self._sdk.models.list()]

    async def count_tokens(self, request: ChatRequest) -> int:
        """Estimate: the API cannot count tokens in advance."""
        return self.estimate_tokens(request)

    def estimate_tokens(self, request: ChatRequest) -> int:
        """Estimate by the words of the messages."""
        return sum(count_text(message.content) for message in request.messages)

    async def complete(self, request: ChatRequest) -> StreamEvent:
        """Request the answer in one piece."""
        body, reader = self._body(request), ChatReader()
        with as_provider_errors(openai):
            create: Any = self._sdk.chat.completions.with_streaming_response.create
            async with create(**body) as response:
                return await read_whole(response, reader)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Request the answer as a stream."""
        body, reader = self._body(request), ChatReader()
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        with as_provider_errors(openai):
            create: Any = self._sdk.chat.completions.with_streaming_response.create
            async with (
                create(**body) as response,
                aclosing(read_stream(response, reader)) as events,
            ):
                async for event in events:
                    yield event
        for event in reader.end():
            yield event

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": request.model or self.default_model,
            "messages": [_message(message) for message in request.messages],
            "max_completion_tokens": request.max_tokens,
            "stop": list(request.stop) or None,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
            "reasoning_effort": "medium" if request.thinking else None,
        }
        if request.tools:
            body["tools"] = [
                {"type": "function", "function": tool.model_dump()} for tool in request.tools
            ]
            choice = request.tool_choice
            if isinstance(choice, NamedTool):
                body["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
            else:
                body["tool_choice"] = choice
            body["parallel_tool_calls"] = request.parallel_tool_calls
        return {name: value for name, value in body.items() if value is not None}


def _message(message: ChatMessage) -> dict[str, Any]:
    converted: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_call_id is not None:
        converted["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        converted["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    return converted
