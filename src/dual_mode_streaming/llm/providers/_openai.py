"""The provider for OpenAI's chat completions API: OpenAI, Ollama, vLLM and others, by the SDK."""

from collections.abc import AsyncGenerator, Iterator
from typing import Any, Final

import openai

from dual_mode_streaming.llm._events import (
    EventType,
    FinishReason,
    Message,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from dual_mode_streaming.llm._provider import ProviderError
from dual_mode_streaming.llm._requests import ChatMessage, ChatRequest, NamedTool
from dual_mode_streaming.llm.providers._failures import as_provider_errors
from dual_mode_streaming.llm.simulator._tokens import count_text

_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


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
            return [model.id async for model in self._sdk.models.list()]

    async def count_tokens(self, request: ChatRequest) -> int:
        """Estimate: the API cannot count tokens in advance."""
        return self.estimate_tokens(request)

    def estimate_tokens(self, request: ChatRequest) -> int:
        """Estimate by the words of the messages."""
        return sum(count_text(message.content) for message in request.messages)

    async def complete(self, request: ChatRequest) -> StreamEvent:
        """Request the answer in one piece."""
        with as_provider_errors(openai):
            answer = await self._sdk.chat.completions.create(**self._body(request))
        choice = answer.choices[0]
        calls = [
            ToolCall(id=c.id, name=c.function.name, arguments=c.function.arguments)
            for c in choice.message.tool_calls or ()
            if c.type == "function"
        ]
        message = Message(
            content=choice.message.content or "",
            thinking=getattr(choice.message, "reasoning_content", None) or "",
            tool_calls=tuple(calls),
        )
        return _complete(choice.finish_reason, answer.usage, message)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Request the answer as a stream."""
        reader = _ChunkReader()
        options = {"stream": True, "stream_options": {"include_usage": True}}
        with as_provider_errors(openai):
            create: Any = self._sdk.chat.completions.create
            stream = await create(**self._body(request), **options)
            async with stream:
                async for chunk in stream:
                    for event in reader.read(chunk):
                        yield event
        if reader.reason is None:
            raise ProviderError("the answer ended without its final event", "stream_truncated")
        for event in reader.close_calls():
            yield event
        yield _complete(reader.reason, reader.usage)

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


class _ChunkReader:
    """Converts the chunks of one answer, and keeps its finish reason and usage."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.usage: Any = None
        self._open: int | None = None  # the index of the open tool call

    def read(self, chunk: Any) -> Iterator[StreamEvent]:
        """Yield the events of a chunk."""
        self.usage = chunk.usage or self.usage
        for choice in chunk.choices[:1]:
            self.reason = choice.finish_reason or self.reason
            delta = choice.delta
            if thought := getattr(delta, "reasoning_content", None):
                thinking = ThinkingDelta(content=thought)
                yield StreamEvent(type=EventType.THINKING_DELTA, thinking_delta=thinking)
            if delta.content:
                text = TextDelta(content=delta.content)
                yield StreamEvent(type=EventType.TEXT_DELTA, text_delta=text)
            for call in delta.tool_calls or ():
                yield from self._read_call(call)

    def _read_call(self, call: Any) -> Iterator[StreamEvent]:
        if call.index != self._open:
            yield from self.close_calls()
            self._open = call.index
            head = ToolCallDelta(index=call.index, id=call.id, name=call.function.name)
            yield StreamEvent(type=EventType.TOOL_CALL_START, tool_call=head)
        if call.function is not None and call.function.arguments:
            part = ToolCallDelta(index=call.index, arguments=call.function.arguments)
            yield StreamEvent(type=EventType.TOOL_CALL_DELTA, tool_call=part)

    def close_calls(self) -> Iterator[StreamEvent]:
        """Yield the end of the open tool call, if there is one."""
        if self._open is not None:
            end = ToolCallDelta(index=self._open)
            self._open = None
            yield StreamEvent(type=EventType.TOOL_CALL_END, tool_call=end)


def _complete(reason: str | None, usage: Any, message: Message | None = None) -> StreamEvent:
    counted = Usage()
    if usage is not None:
        counted = Usage(input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens)
    return StreamEvent(
        type=EventType.MESSAGE_COMPLETE,
        finish_reason=_REASONS.get(reason or "", "stop"),
        usage=counted,
        message=message,
    )


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
