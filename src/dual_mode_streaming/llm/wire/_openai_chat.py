"""OpenAI's chat completions, as openai-python 3 parses them."""

import time
from collections.abc import Mapping
from typing import Any, Final

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm._events import EventType, FinishReason, StreamEvent, ToolCall, Usage
from dual_mode_streaming.llm._requests import ChatRequest
from dual_mode_streaming.llm.wire._format import Asked, random_id, text_of, unsupported
from dual_mode_streaming.sse import dumps

__all__ = ["ChatCompletionFrames", "OpenAIChat", "openai_error"]

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


class OpenAIChat:
    """`POST /v1/chat/completions`."""

    id_header = "x-request-id"

    def new_id(self) -> str:
        """Such as OpenAI's request ids."""
        return random_id("req_")

    def asked(self, body: dict[str, Any]) -> Asked:
        """The request. The unknown is ignored, since clients add keys of their own."""
        unsupported(body, _UNSUPPORTED)
        stream = body.get("stream") or False
        if not isinstance(stream, bool):
            raise Problem(400, "stream: a boolean is needed", param="stream")
        options = body.get("stream_options") or {}
        if options and not stream:
            message = "stream_options: only with stream"
            raise Problem(400, message, param="stream_options")
        if not isinstance(options, dict):
            raise Problem(400, "stream_options: an object is needed", param="stream_options")
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise Problem(400, "model: a string is needed", param="model")
        stop = body.get("stop") or ()
        limit = body.get("max_completion_tokens")
        request = ChatRequest.model_validate(
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
                "thinking": body.get("reasoning_effort") not in (None, "none", "minimal"),
            }
        )
        return Asked(request, stream, model, bool(options.get("include_usage")))

    def frames(self, asked: Asked, identity: str, input_tokens: int) -> "ChatCompletionFrames":
        """The chunks of one answer."""
        return ChatCompletionFrames(
            _completion_id(identity), asked.model, usage_chunk=asked.usage_chunk
        )

    def batch(self, asked: Asked, identity: str, whole: StreamEvent) -> dict[str, Any]:
        """A chat.completion."""
        assert whole.message is not None
        message: dict[str, Any] = {
            "role": "assistant",
            "content": whole.message.content,
            "refusal": None,
        }
        if whole.message.thinking:
            message["reasoning_content"] = whole.message.thinking
        if whole.message.tool_calls:
            message["tool_calls"] = [_call(call) for call in whole.message.tool_calls]
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": _REASONS[whole.finish_reason or "stop"],
        }
        return {
            "id": _completion_id(identity),
            "object": "chat.completion",
            "created": int(time.time()),
            "model": asked.model,
            "choices": [choice],
            "usage": _usage(whole.usage),
        }

    def error(self, refusal: Problem, identity: str) -> dict[str, Any]:
        """The body of an error, with OpenAI's types."""
        return openai_error(refusal.status_code, str(refusal.detail), refusal.param, refusal.code)


class ChatCompletionFrames:
    """Events as `data:` frames without a name or id: openai-python stumbles over those."""

    heartbeat = b": ping\n"

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
        """The chunk that names the role; this format knows neither retry nor reset."""
        return self._delta({"role": "assistant", "content": ""})

    def item(self, item: StreamEvent) -> bytes:
        """The chunk, or chunks, of an event."""
        self.count += 1
        if item.text_delta is not None:
            return self._text % dumps(item.text_delta.content)
        call = item.tool_call
        match item.type:
            case EventType.THINKING_DELTA if item.thinking_delta is not None:
                said = item.thinking_delta.content
                return self._delta({"reasoning_content": said}) if said else b""
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
        """The end of a whole answer."""
        return b"data: [DONE]\n\n"

    def failed(self, problem: Mapping[str, Any], *, final: bool = True) -> bytes:
        """The end of one that failed; without [DONE], so that nobody takes it for whole."""
        detail = problem.get("detail") or problem.get("title") or "error"
        return b"data: " + dumps(openai_error(problem["status"], detail)) + b"\n\n"

    def _delta(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return self._prefix + dumps(choice) + self._suffix


def _completion_id(identity: str) -> str:
    return "chatcmpl-" + identity.removeprefix("req_")


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


def openai_error(
    status: int, message: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """The body of an error, as OpenAI's faces tell it."""
    kind = "requests" if status == 429 else "server_error" if status >= 500 else None
    codes = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
    error = {
        "message": message,
        "type": kind or "invalid_request_error",
        "param": param,
        "code": code or codes.get(status),
    }
    return {"error": error}


def _messages(given: Any) -> list[dict[str, Any]]:
    if not isinstance(given, list) or not given:
        raise Problem(400, "messages: a list of at least one is needed", param="messages")
    messages = []
    for number, message in enumerate(given):
        where = f"messages[{number}]"
        if not isinstance(message, dict):
            raise Problem(400, f"{where}: an object is needed", param=where)
        role = message.get("role")
        roles = {"developer": "system"}
        parsed: dict[str, Any] = {
            "role": roles.get(role, role) if isinstance(role, str) else role,
            "content": text_of(message.get("content"), f"{where}.content", _TEXT),
        }
        if calls := message.get("tool_calls"):
            calls = calls if isinstance(calls, list) else [calls]
            parsed["tool_calls"] = [_parsed_call(call, where) for call in calls]
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
        param = f"{where}.tool_calls"
        message = f"{param}: each needs an id and a function with name and arguments"
        raise Problem(400, message, param=param) from None


def _tools(given: Any) -> list[dict[str, Any]]:
    tools = []
    for number, tool in enumerate(given if isinstance(given, list) else [given]):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or tool.get("type") != "function":
            param = f"tools[{number}]"
            raise Problem(400, f"{param}: only functions are supported", param=param)
        known = ("name", "description", "parameters")
        tools.append({key: function[key] for key in known if function.get(key) is not None})
    return tools


def _tool_choice(given: Any) -> Any:
    if isinstance(given, dict) and isinstance(given.get("function"), dict):
        return {"name": given["function"].get("name")}
    return given
