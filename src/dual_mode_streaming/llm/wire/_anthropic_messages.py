"""Anthropic's messages, as anthropic-python 2 parses them."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pydantic_core

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm._events import EventType, FinishReason, StreamEvent, Usage
from dual_mode_streaming.llm._requests import ChatRequest
from dual_mode_streaming.llm.wire._format import Asked, random_id, text_of, unsupported
from dual_mode_streaming.sse import dumps

__all__ = ["AnthropicMessages", "MessageFrames"]

_REASONS: Final[dict[FinishReason, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "pause": "pause_turn",
}
_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}

_TEXT_DELTA: Final = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
    b'"delta":{"type":"text_delta","text":%b}}\n\n'
)


class AnthropicMessages:
    """`POST /v1/messages`."""

    id_header = "request-id"

    def new_id(self) -> str:
        """Such as Anthropic's request ids."""
        return random_id("req_")

    def asked(self, body: dict[str, Any]) -> Asked:
        """The request. The unknown is ignored, since clients add keys of their own."""
        if body.get("max_tokens") is None:
            raise Problem(400, "max_tokens: Field required", param="max_tokens")
        return self.counted(body)

    def counted(self, body: dict[str, Any]) -> Asked:
        """The same where no `max_tokens` is needed, for `count_tokens`."""
        unsupported(body, {"container": None, "mcp_servers": None, "output_format": None})
        if isinstance(config := body.get("output_config"), dict):
            field = "output_config.format"
            unsupported({field: config.get("format")}, {field: None})
        stream = body.get("stream") or False
        if not isinstance(stream, bool):
            raise Problem(400, "stream: a boolean is needed", param="stream")
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise Problem(400, "model: a string is needed", param="model")
        thinking = body.get("thinking") or {}
        choice = body.get("tool_choice") or {"type": "auto"}
        one_call = isinstance(choice, dict) and choice.get("disable_parallel_tool_use") is True
        request = ChatRequest.model_validate(
            {
                "messages": _messages(body.get("system"), body.get("messages")),
                "model": model,
                "max_tokens": body.get("max_tokens"),
                "stop": body.get("stop_sequences") or (),
                "tools": _tools(body.get("tools") or []),
                "tool_choice": _tool_choice(choice),
                "parallel_tool_calls": not one_call,
                "temperature": body.get("temperature"),
                "top_p": body.get("top_p"),
                "thinking": isinstance(thinking, dict) and thinking.get("type") != "disabled"
                if thinking
                else False,
            }
        )
        return Asked(request, stream, model)

    def frames(self, asked: Asked, identity: str, input_tokens: int) -> "MessageFrames":
        """The events of one answer."""
        return MessageFrames(_message_id(identity), asked.model, identity, input_tokens)

    def batch(self, asked: Asked, identity: str, whole: StreamEvent) -> dict[str, Any]:
        """A message."""
        message, usage = whole.message, whole.usage or Usage()
        assert message is not None
        content: list[dict[str, Any]] = []
        if message.thinking:
            signature = message.signature or ""
            content.append(
                {"type": "thinking", "thinking": message.thinking, "signature": signature}
            )
        if message.content:
            content.append({"type": "text", "text": message.content, "citations": None})
        for call in message.tool_calls:
            block = {"type": "tool_use", "id": call.id, "name": call.name}
            content.append({**block, "input": _input(call.arguments)})
        return {
            **_blank(_message_id(identity), asked.model),
            "content": content,
            "stop_reason": _stop_reason(whole),
            "stop_sequence": whole.stop_sequence,
            "usage": _usage(usage.input_tokens, usage.output_tokens),
        }

    def error(self, refusal: Problem, identity: str) -> dict[str, Any]:
        """The body of an error, with Anthropic's types."""
        return _error(refusal.status_code, str(refusal.detail), identity)


class MessageFrames:
    """Events by their names: frames without one are dropped by Anthropic's SDK."""

    heartbeat = b'event: ping\ndata: {"type":"ping"}\n\n'

    def __init__(self, identity: str, model: str, request_id: str, input_tokens: int) -> None:
        self.count = 0
        self._identity = identity
        self._model = model
        self._request_id = request_id
        self._input_tokens = input_tokens
        self._index = -1
        self._open: str | None = None

    def opening(self, *, retry: int | None = None, reset: Any = None) -> bytes:
        """The start of the message; this format knows neither retry nor reset."""
        usage = _usage(self._input_tokens, 1)
        message = {**_blank(self._identity, self._model), "content": [], "usage": usage}
        return _frame("message_start", message=message)

    def item(self, item: StreamEvent) -> bytes:
        """The frames of an event, the start and the end of a content block among them."""
        self.count += 1
        call = item.tool_call
        match item.type:
            case EventType.TEXT_DELTA if item.text_delta is not None:
                begun = b"" if self._open == "text" else self._block("text", text="")
                return begun + _TEXT_DELTA % (self._index, dumps(item.text_delta.content))
            case EventType.THINKING_DELTA if item.thinking_delta is not None:
                frames = self._block("thinking", thinking="", signature="")
                if said := item.thinking_delta.content:
                    frames += self._delta(type="thinking_delta", thinking=said)
                if signature := item.thinking_delta.signature:
                    frames += self._delta(type="signature_delta", signature=signature)
                return frames
            case EventType.TOOL_CALL_START if call is not None:
                return self._close() + self._block("tool_use", id=call.id, name=call.name, input={})
            case EventType.TOOL_CALL_DELTA if call is not None:
                return self._delta(type="input_json_delta", partial_json=call.arguments)
            case EventType.TOOL_CALL_END:
                return self._close()
            case EventType.MESSAGE_COMPLETE:
                usage = item.usage or Usage()
                delta = {"stop_reason": _stop_reason(item), "stop_sequence": item.stop_sequence}
                counted = _usage(usage.input_tokens, usage.output_tokens)
                return (
                    self._close()
                    + _frame("message_delta", delta=delta, usage=counted)
                    + _frame("message_stop")
                )
        return b""

    def done(self) -> bytes:
        """Nothing more: message_stop was the end."""
        return b""

    def failed(self, problem: Mapping[str, Any], *, final: bool = True) -> bytes:
        """The end of an answer that failed."""
        detail = problem.get("detail") or problem.get("title") or "error"
        error = _error(problem["status"], detail, self._request_id)
        return b"event: error\ndata: " + dumps(error) + b"\n\n"

    def _block(self, kind: str, **start: Any) -> bytes:
        """The start of a block of a kind, after the end of another; nothing if it is open."""
        if self._open == kind:
            return b""
        closing = self._close()
        self._open = kind
        self._index += 1
        block = {"type": kind, **start}
        return closing + _frame("content_block_start", index=self._index, content_block=block)

    def _delta(self, **delta: Any) -> bytes:
        return _frame("content_block_delta", index=self._index, delta=delta)

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        self._open = None
        return _frame("content_block_stop", index=self._index)


def _frame(name: str, **data: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), dumps({"type": name, **data}))


def _message_id(identity: str) -> str:
    return "msg_" + identity.removeprefix("req_")


def _blank(identity: str, model: str) -> dict[str, Any]:
    return {
        "id": identity,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _usage(input_tokens: int, output_tokens: int) -> dict[str, Any]:
    return {"input_tokens": input_tokens, "output_tokens": output_tokens}


def _input(arguments: str) -> Any:
    """The arguments as a value; what was cut by max_tokens as far as it goes, as the SDK has it."""
    try:
        return pydantic_core.from_json(arguments or "{}", allow_partial=True)
    except ValueError:
        return {}


def _stop_reason(event: StreamEvent) -> str:
    return "stop_sequence" if event.stop_sequence else _REASONS[event.finish_reason or "stop"]


def _error(status: int, message: str, request_id: str) -> dict[str, Any]:
    kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": request_id,
    }


def _messages(system: Any, given: Any) -> list[dict[str, Any]]:
    if not isinstance(given, list) or not given:
        raise Problem(400, "messages: a list of at least one is needed", param="messages")
    messages = []
    if system:
        messages.append({"role": "system", "content": text_of(system, "system", {"text": "text"})})
    for number, message in enumerate(given):
        where = f"messages.{number}"
        if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
            raise Problem(400, f"{where}.role: 'user' or 'assistant' is needed", param=where)
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
        messages += _turn(message["role"], parts, where)
    return messages


def _turn(role: str, parts: list[Any], where: str) -> list[dict[str, Any]]:
    """One of their messages is several of ours: each tool result is a message of its own."""
    results, calls, texts = [], [], []
    for number, part in enumerate(parts):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "tool_result" and role == "user":
            content = text_of(part.get("content"), f"{where}.content.{number}", {"text": "text"})
            results.append(
                {"role": "tool", "content": content, "tool_call_id": part.get("tool_use_id")}
            )
        elif kind == "tool_use" and role == "assistant":
            arguments = json.dumps(part.get("input") or {}, ensure_ascii=False)
            calls.append({"id": part.get("id"), "name": part.get("name"), "arguments": arguments})
        elif kind not in ("thinking", "redacted_thinking"):
            texts.append(text_of([part], f"{where}.content", {"text": "text"}))
    said: dict[str, Any] = {"role": role, "content": "".join(texts)}
    if calls:
        said["tool_calls"] = calls
    return [*results, said] if texts or calls or not results else results


def _tools(given: Any) -> list[dict[str, Any]]:
    tools = []
    for number, tool in enumerate(given if isinstance(given, list) else [given]):
        where = f"tools.{number}"
        if not isinstance(tool, dict) or tool.get("type", "custom") not in ("custom", None):
            raise Problem(400, f"{where}.type: not supported", param=where)
        parsed = {"name": tool.get("name"), "description": tool.get("description") or ""}
        if tool.get("input_schema") is not None:
            parsed["parameters"] = tool["input_schema"]
        tools.append(parsed)
    return tools


def _tool_choice(given: Any) -> Any:
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "tool":
        return {"name": given.get("name")}
    return {"auto": "auto", "any": "required", "none": "none"}.get(str(kind), kind)
