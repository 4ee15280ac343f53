"""OpenAI's chat completions, as openai-python 3 sends and parses them."""

import time
from collections.abc import Mapping
from typing import Any, Final

from dual_mode_streaming.llm._events import EventType, FinishReason, StreamEvent, ToolCall, Usage
from dual_mode_streaming.llm._requests import ChatRequest
from dual_mode_streaming.llm.wire._format import WireRequest, message_of
from dual_mode_streaming.llm.wire._openai import (
    OpenAIFormat,
    function_of,
    has_thinking,
    openai_error,
    stream_options_of,
)
from dual_mode_streaming.llm.wire._parsing import (
    as_list,
    invalid,
    refuse_unsupported,
    stream_and_model,
    text_of,
)
from dual_mode_streaming.sse import HEARTBEAT, dumps

_REASONS: Final[dict[FinishReason, str]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "pause": "stop",
}
_TEXT: Final = {"text": "text", "refusal": "refusal"}
_UNSUPPORTED: Final = {
    "n": 1,
    "logprobs": False,
    "top_logprobs": None,
    "audio": None,
    "modalities": ["text"],
    "functions": None,
    "function_call": None,
    "prediction": None,
    "response_format": {"type": "text"},
    "web_search_options": None,
}


class OpenAIChat(OpenAIFormat):
    """The wire format of `POST /v1/chat/completions`."""

    def parse(self, body: dict[str, Any]) -> WireRequest:
        """Parse a body; unknown fields are ignored, because clients add fields of their own."""
        refuse_unsupported(body, _UNSUPPORTED)
        stream, model = stream_and_model(body)
        options = stream_options_of(body, stream)
        stop = body.get("stop") or ()
        limit = body.get("max_completion_tokens")
        chat = ChatRequest.model_validate(
            {
                "messages": _messages(body.get("messages")),
                "model": model,
                "max_tokens": body.get("max_tokens") if limit is None else limit,
                "stop": (stop,) if isinstance(stop, str) else stop,
                "tools": _tools(body.get("tools") or []),
                "tool_choice": _tool_choice(body.get("tool_choice") or "auto"),
                "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
                "temperature": body.get("temperature"),
                "top_p": body.get("top_p"),
                "seed": body.get("seed"),
                "thinking": has_thinking(body.get("reasoning_effort")),
            }
        )
        return WireRequest(chat, stream, model, bool(options.get("include_usage")))

    def frames(
        self, request: WireRequest, request_id: str, input_tokens: int
    ) -> "ChatCompletionFrames":
        """Return the chunks of one answer."""
        return ChatCompletionFrames(
            _completion_id(request_id), request.model, usage_chunk=request.usage_chunk
        )

    def batch(self, request: WireRequest, request_id: str, event: StreamEvent) -> dict[str, Any]:
        """Return a chat.completion."""
        whole = event.message
        assert whole is not None
        message: dict[str, Any] = {
            "role": "assistant",
            "content": whole.content,
            "refusal": None,
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
        error = openai_error(problem["status"], message_of(problem))
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
    }


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _messages(given: Any) -> list[dict[str, Any]]:
    if not isinstance(given, list) or not given:
        raise invalid("messages", "a list of at least one message is needed")
    messages = []
    for number, message in enumerate(given):
        where = f"messages[{number}]"
        if not isinstance(message, dict):
            raise invalid(where, "an object is needed")
        role = message.get("role")
        roles = {"developer": "system"}
        parsed: dict[str, Any] = {
            "role": roles.get(role, role) if isinstance(role, str) else role,
            "content": text_of(message.get("content"), f"{where}.content", _TEXT),
        }
        if calls := message.get("tool_calls"):
            parsed["tool_calls"] = [_parsed_call(call, where) for call in as_list(calls)]
        if message.get("tool_call_id") is not None:
            parsed["tool_call_id"] = message["tool_call_id"]
        messages.append(parsed)
    return messages


def _parsed_call(call: Any, where: str) -> dict[str, Any]:
    try:
        function = call["function"]
        return {
            "id": call["id"],
            "name": function["name"],
            "arguments": function["arguments"],
        }
    except (TypeError, KeyError):
        reason = "each needs an id and a function with name and arguments"
        raise invalid(f"{where}.tool_calls", reason) from None


def _tools(given: Any) -> list[dict[str, Any]]:
    tools = []
    for number, tool in enumerate(as_list(given)):
        function = tool.get("function") if isinstance(tool, dict) else None
        tools.append(function_of(tool, function, f"tools[{number}]"))
    return tools


def _tool_choice(given: Any) -> Any:
    if isinstance(given, dict) and isinstance(given.get("function"), dict):
        return {"name": given["function"].get("name")}
    return given
