"""Anthropic's messages, as anthropic-python 2 sends and parses them."""

from collections.abc import Mapping
from typing import Any, Final

import pydantic_core

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm._events import (
    EventType,
    FinishReason,
    StreamEvent,
    ThinkingDelta,
    Usage,
)
from dual_mode_streaming.llm._forwarding import Dialect
from dual_mode_streaming.llm.wire._anthropic_request import parse_anthropic, parse_counted
from dual_mode_streaming.llm.wire._format import WireRequest, event_frame, message_of
from dual_mode_streaming.llm.wire._model_wire import ModelWire
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


class AnthropicMessages(ModelWire):
    """The wire format of `POST /v1/messages`."""

    dialect: Dialect = "anthropic"
    id_header = "request-id"

    def parse(self, body: dict[str, Any]) -> WireRequest:
        """Parse a body."""
        return parse_anthropic(body)

    def answer_frames(
        self, request: WireRequest, request_id: str, input_tokens: int
    ) -> "MessageFrames":
        """Return the events of one answer."""
        return MessageFrames(_message_id(request_id), request.model, request_id, input_tokens)

    def batch(self, request: WireRequest, request_id: str, event: StreamEvent) -> dict[str, Any]:
        """Return a message."""
        message, usage = event.message, event.usage or Usage()
        assert message is not None
        content = [_thought(thought) for thought in message.thoughts]
        if message.content:
            content.append({"type": "text", "text": message.content, "citations": []})
        for call in message.tool_calls:
            content.append(_tool_use(call.id, call.name, _input(call.arguments)))
        return {
            **_empty_message(_message_id(request_id), request.model),
            "content": content,
            "stop_reason": _stop_reason(event),
            "stop_sequence": event.stop_sequence,
            "usage": _usage(usage),
        }

    def error(self, problem: Problem, request_id: str = "") -> dict[str, Any]:
        """Return the body of a refusal."""
        return _error(problem.status_code, str(problem.detail), request_id)


class AnthropicTokenCount(AnthropicMessages):
    """The wire format of `POST /v1/messages/count_tokens`."""

    def parse(self, body: dict[str, Any]) -> WireRequest:
        """Parse a body, which needs no `max_tokens`."""
        return parse_counted(body)


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
        usage = _usage(Usage(input_tokens=self._input_tokens, output_tokens=1))
        message = {**_empty_message(self._identity, self._model), "content": [], "usage": usage}
        return event_frame("message_start", message=message)

    def item(self, item: StreamEvent) -> bytes:
        """Return the frames of an event, with the start and the end of content blocks."""
        self.count += 1
        call = item.tool_call
        match item.type:
            case EventType.TEXT_DELTA if item.text_delta is not None:
                begun = b"" if self._open == "text" else self._block("text", text="", citations=[])
                return begun + _TEXT_DELTA % (self._index, dumps(item.text_delta.content))
            case EventType.THINKING_DELTA if item.thinking_delta is not None:
                return self._thought(item.thinking_delta)
            case EventType.TOOL_CALL_START if call is not None:
                return self._close() + self._block(**_tool_use(call.id, call.name, {}))
            case EventType.TOOL_CALL_DELTA if call is not None:
                return self._delta(type="input_json_delta", partial_json=call.arguments)
            case EventType.TOOL_CALL_END:
                return self._close()
            case EventType.MESSAGE_COMPLETE:
                delta = {"stop_reason": _stop_reason(item), "stop_sequence": item.stop_sequence}
                delta |= {"stop_details": None, "container": None}
                counted = _counts(item.usage or Usage())
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

    def _thought(self, thinking: ThinkingDelta) -> bytes:
        """Return the frames of a piece of thinking; a signature ends its block."""
        if thinking.redacted:
            return self._close() + self._block(**_thought(thinking)) + self._close()
        frames = self._block("thinking", thinking="", signature="")
        if thinking.content:
            frames += self._delta(type="thinking_delta", thinking=thinking.content)
        if thinking.signature:
            signed = self._delta(type="signature_delta", signature=thinking.signature)
            frames += signed + self._close()
        return frames

    def _block(self, type: str, **start: Any) -> bytes:
        """Return the end of another open block and the start of one; nothing if it is open."""
        if self._open == type:
            return b""
        closing = self._close()
        self._open = type
        self._index += 1
        block = {"type": type, **start}
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
        "stop_details": None,
        "container": None,
    }


def _counts(usage: Usage) -> dict[str, Any]:
    """Return the tokens; those of the cache are not among the input tokens in this API."""
    read, written = usage.cache_read_tokens, usage.cache_write_tokens
    return {
        "input_tokens": usage.input_tokens - read - written,
        "output_tokens": usage.output_tokens,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
        "server_tool_use": None,
    }


def _usage(usage: Usage) -> dict[str, Any]:
    written = {"ephemeral_5m_input_tokens": usage.cache_write_tokens}
    return {
        **_counts(usage),
        "cache_creation": {**written, "ephemeral_1h_input_tokens": 0},
        "inference_geo": None,
        "service_tier": "standard",
    }


def _thought(thinking: ThinkingDelta) -> dict[str, Any]:
    if thinking.redacted:
        return {"type": "redacted_thinking", "data": thinking.redacted}
    signature = thinking.signature or ""
    return {"type": "thinking", "thinking": thinking.content, "signature": signature}


def _tool_use(identity: str | None, name: str | None, given: Any) -> dict[str, Any]:
    called = {"type": "tool_use", "id": identity, "name": name, "input": given}
    return {**called, "caller": {"type": "direct"}}


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
