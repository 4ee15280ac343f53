"""Anthropic's messages, as anthropic-python 2 sends and parses them."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pydantic_core

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm._events import EventType, FinishReason, StreamEvent, Usage
from dual_mode_streaming.llm._requests import ChatRequest
from dual_mode_streaming.llm.wire._format import WireRequest, event_frame, message_of
from dual_mode_streaming.llm.wire._parsing import (
    as_list,
    invalid,
    refuse_unsupported,
    stream_and_model,
    text_of,
)
from dual_mode_streaming.sse import dumps

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
    """The wire format of `POST /v1/messages` and `/v1/messages/count_tokens`."""

    id_header = "request-id"

    def parse(self, body: dict[str, Any]) -> WireRequest:
        """Parse a body; unknown fields are ignored, because clients add fields of their own."""
        if body.get("max_tokens") is None:
            raise invalid("max_tokens", "Field required")
        return self.parse_counted(body)

    def parse_counted(self, body: dict[str, Any]) -> WireRequest:
        """Parse the body of `count_tokens`, which needs no `max_tokens`."""
        refuse_unsupported(body, {"container": None, "mcp_servers": None, "output_format": None})
        if isinstance(config := body.get("output_config"), dict):
            field = "output_config.format"
            refuse_unsupported({field: config.get("format")}, {field: None})
        stream, model = stream_and_model(body)
        thinking = body.get("thinking")
        choice = body.get("tool_choice") or {"type": "auto"}
        one_call = isinstance(choice, dict) and choice.get("disable_parallel_tool_use") is True
        chat = ChatRequest.model_validate(
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
                "thinking": isinstance(thinking, dict) and thinking.get("type") != "disabled",
            }
        )
        return WireRequest(chat, stream, model)

    def frames(self, request: WireRequest, request_id: str, input_tokens: int) -> "MessageFrames":
        """Return the events of one answer."""
        return MessageFrames(_message_id(request_id), request.model, request_id, input_tokens)

    def batch(self, request: WireRequest, request_id: str, event: StreamEvent) -> dict[str, Any]:
        """Return a message."""
        message, usage = event.message, event.usage or Usage()
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
            **_empty_message(_message_id(request_id), request.model),
            "content": content,
            "stop_reason": _stop_reason(event),
            "stop_sequence": event.stop_sequence,
            "usage": _usage(usage.input_tokens, usage.output_tokens),
        }

    def error(self, problem: Problem, request_id: str) -> dict[str, Any]:
        """Return the body of a refusal."""
        return _error(problem.status_code, str(problem.detail), request_id)


class MessageFrames:
    """Named events, because Anthropic's SDK ignores those without a name."""

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
        """Return the start of the message; this format has neither retry nor reset."""
        usage = _usage(self._input_tokens, 1)
        message = {**_empty_message(self._identity, self._model), "content": [], "usage": usage}
        return event_frame("message_start", message=message)

    def item(self, item: StreamEvent) -> bytes:
        """Return the frames of an event, with the start and the end of content blocks."""
        self.count += 1
        call = item.tool_call
        match item.type:
            case EventType.TEXT_DELTA if item.text_delta is not None:
                begun = b"" if self._open == "text" else self._block("text", text="")
                return begun + _TEXT_DELTA % (self._index, dumps(item.text_delta.content))
            case EventType.THINKING_DELTA if item.thinking_delta is not None:
                frames = self._block("thinking", thinking="", signature="")
                if content := item.thinking_delta.content:
                    frames += self._delta(type="thinking_delta", thinking=content)
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
                    + event_frame("message_delta", delta=delta, usage=counted)
                    + event_frame("message_stop")
                )
        return b""

    def done(self) -> bytes:
        """Return nothing: message_stop was the end."""
        return b""

    def failed(self, problem: Mapping[str, Any], *, final: bool = True) -> bytes:
        """Return the error event."""
        error = _error(problem["status"], message_of(problem), self._request_id)
        return b"event: error\ndata: " + dumps(error) + b"\n\n"

    def _block(self, kind: str, **start: Any) -> bytes:
        """Return the end of another open block and the start of one; nothing if it is open."""
        if self._open == kind:
            return b""
        closing = self._close()
        self._open = kind
        self._index += 1
        block = {"type": kind, **start}
        return closing + event_frame("content_block_start", index=self._index, content_block=block)

    def _delta(self, **delta: Any) -> bytes:
        return event_frame("content_block_delta", index=self._index, delta=delta)

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        self._open = None
        return event_frame("content_block_stop", index=self._index)


def _message_id(request_id: str) -> str:
    return "msg_" + request_id.removeprefix("req_")


def _empty_message(identity: str, model: str) -> dict[str, Any]:
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
    """Return the arguments as a value; of arguments that max_tokens cut, the part that is there."""
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
        raise invalid("messages", "a list of at least one message is needed")
    messages = []
    if system:
        messages.append({"role": "system", "content": text_of(system, "system", {"text": "text"})})
    for number, message in enumerate(given):
        where = f"messages.{number}"
        if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
            raise invalid(f"{where}.role", "'user' or 'assistant' is needed")
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
        messages += _split(message["role"], parts, where)
    return messages


def _split(role: str, parts: list[Any], where: str) -> list[dict[str, Any]]:
    """Return one of their messages as ours, where each tool result is a message of its own."""
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
    message: dict[str, Any] = {"role": role, "content": "".join(texts)}
    if calls:
        message["tool_calls"] = calls
    return [*results, message] if texts or calls or not results else results


def _tools(given: Any) -> list[dict[str, Any]]:
    tools = []
    for number, tool in enumerate(as_list(given)):
        where = f"tools.{number}"
        if not isinstance(tool, dict) or tool.get("type", "custom") not in ("custom", None):
            raise invalid(f"{where}.type", "not supported")
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
