"""OpenAI's chat completions, as openai-python 3 sends and parses them."""

import time
from collections.abc import Mapping
from typing import Any, Final

from dual_mode_streaming.llm._events import EventType, FinishReason, StreamEvent, ToolCall, Usage
from dual_mode_streaming.llm._forwarding import Dialect
from dual_mode_streaming.llm.wire._chat_request import parse_chat
from dual_mode_streaming.llm.wire._format import WireRequest, message_of
from dual_mode_streaming.llm.wire._openai import OpenAIFormat, openai_error
from dual_mode_streaming.sse import HEARTBEAT, dumps

_REASONS: Final[dict[FinishReason, str]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "pause": "stop",
}


class OpenAIChat(OpenAIFormat):
    """The wire format of `POST /v1/chat/completions`."""

    dialect: Dialect = "openai-chat"

    def parse(self, body: dict[str, Any]) -> WireRequest:
        """Parse a body."""
        return parse_chat(body)

    def answer_frames(
        self, request: WireRequest, request_id: str, input_tokens: int
    ) -> "ChatCompletionFrames":
        """Return the chunks of one answer."""
        return ChatCompletionFrames(
            _completion_id(request_id),
            request.model,
            usage_chunk=request.usage_chunk,
            created=request.echo.get("created_at"),
        )

    def batch(self, request: WireRequest, request_id: str, event: StreamEvent) -> dict[str, Any]:
        """Return a chat.completion."""
        whole = event.message
        assert whole is not None
        message: dict[str, Any] = {
            "role": "assistant",
            "content": whole.content,
            "refusal": None,
            "annotations": [],
        }
        if whole.thinking:
            message["reasoning_content"] = whole.thinking
        if whole.tool_calls:
            message["tool_calls"] = [_call(call) for call in whole.tool_calls]
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": _REASONS[event.finish_reason or "stop"],
        }
        return {
            "id": _completion_id(request_id),
            "object": "chat.completion",
            "created": int(time.time()),
            "model": request.model,
            "choices": [choice],
            "usage": _usage(event.usage),
            "service_tier": "default",
        }


class ChatCompletionFrames:
    """Frames without event name or id, because openai-python fails on those."""

    heartbeat = HEARTBEAT

    def __init__(
        self, identity: str, model: str, *, usage_chunk: bool = False, created: int | None = None
    ) -> None:
        self.count = 0
        created = int(time.time()) if created is None else created
        head = {"id": identity, "object": "chat.completion.chunk", "created": created}
        self._prefix = b"data: " + dumps({**head, "model": model})[:-1] + b',"choices":['
        self._suffix = b'],"usage":null}\n\n' if usage_chunk else b"]}\n\n"
        self._usage_chunk = usage_chunk
        before = self._prefix + b'{"index":0,"delta":{"content":'
        after = b'},"finish_reason":null}' + self._suffix
        self._text = before.replace(b"%", b"%%") + b"%b" + after

    def opening(self, *, retry: int | None = None, reset: Any = None) -> bytes:
        """Return the chunk with the role; this format has neither retry nor reset."""
        return self._delta({"role": "assistant", "content": ""})

    def item(self, item: StreamEvent) -> bytes:
        """Return the chunks of an event."""
        self.count += 1
        if item.text_delta is not None:
            return self._text % dumps(item.text_delta.content)
        call = item.tool_call
        match item.type:
            case EventType.THINKING_DELTA if item.thinking_delta is not None:
                content = item.thinking_delta.content
                return self._delta({"reasoning_content": content}) if content else b""
            case EventType.TOOL_CALL_START if call is not None:
                function = {"name": call.name, "arguments": ""}
                head = {"index": call.index, "id": call.id, "type": "function"}
                return self._delta({"tool_calls": [{**head, "function": function}]})
            case EventType.TOOL_CALL_DELTA if call is not None:
                part = {"index": call.index, "function": {"arguments": call.arguments}}
                return self._delta({"tool_calls": [part]})
            case EventType.MESSAGE_COMPLETE:
                end = self._delta({}, _REASONS[item.finish_reason or "stop"])
                if self._usage_chunk:
                    usage = dumps(_usage(item.usage))
                    end += self._prefix + b'],"usage":' + usage + b"}\n\n"
                return end
        return b""

    def done(self) -> bytes:
        """Return the end of a complete answer."""
        return b"data: [DONE]\n\n"

    def failed(self, problem: Mapping[str, Any], *, final: bool = True) -> bytes:
        """Return the error, without `[DONE]`: the answer is incomplete."""
        error = openai_error(
            problem["status"], message_of(problem), problem.get("param"), problem.get("code")
        )
        return b"data: " + dumps(error) + b"\n\n"

    def _delta(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return self._prefix + dumps(choice) + self._suffix


def _completion_id(request_id: str) -> str:
    return "chatcmpl-" + request_id.removeprefix("req_")


def _usage(usage: Usage | None) -> dict[str, Any]:
    usage = usage or Usage()
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}
