"""The UI message stream v1 of the AI SDK (Vercel), which `useChat` reads."""

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm._events import FinishReason, StreamEvent, ToolResult
from dual_mode_streaming.llm.wire._items import PartFrames, frame

_REASONS: Final[dict[FinishReason, str]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool-calls",
    "content_filter": "content-filter",
    "pause": "other",
}

_ENDS: Final = ("finish", "error", "abort")
_WITHIN: Final = (
    *("-delta", "-end", "output-available", "output-error", "output-denied"),
    *("approval-request", "approval-response", "metadata"),
)
"""How the types of chunks end that go on with a part; any other one may be the first of a step."""


class UIMessageStream:
    """The wire format of `useChat`: `dual_mode(wire=UIMessageStream(), record=True)`.

    The key is the chat's id. Items are text, `StreamEvent`s, and chunks of the protocol as objects:
    `{"type": "data-…"}`, `source-url`, `file`, `message-metadata` and so on.
    """

    headers: Mapping[str, str] = {"x-vercel-ai-ui-message-stream": "v1"}
    key = "chat_id"
    resume: Literal["newest", "each"] = "newest"

    def begin(self, body: Any) -> Mapping[str, Any]:
        """Return the id of the chat, and that of the message that goes on, if one does."""
        body = body if isinstance(body, dict) else {}
        messages = body.get("messages")
        last = messages[-1] if isinstance(messages, list) and messages else None
        begun: dict[str, Any] = {}
        if (chat := body.get("id")) is not None:
            begun["key"] = chat
        regenerates = body.get("trigger") == "regenerate-message"
        if isinstance(last, dict) and last.get("role") == "assistant" and not regenerates:
            begun["message"] = last.get("id")
        return begun

    def frames(self, begun: Mapping[str, Any], identity: str) -> "UIFrames":
        """Return the chunks of one answer."""
        message = begun.get("message")
        return UIFrames(message if isinstance(message, str) else f"msg_{identity}")

    def error(self, problem: Problem) -> str:
        """Return the text that the client shows."""
        return str(problem.detail)


class UIFrames(PartFrames):
    """Chunks in unnamed events, `[DONE]` last. Without `finish` the answer is not complete."""

    def __init__(self, message: str) -> None:
        super().__init__()
        self._message = message
        self._has_content = False

    def opening(self, *, retry: int | None = None, reset: Any = None) -> bytes:
        """Return the start of the message and of its first step."""
        return frame({"type": "start", "messageId": self._message}) + frame({"type": "start-step"})

    def _chunk(self, chunk: dict[str, Any]) -> bytes:
        kind = chunk["type"]
        if kind == "start":  # it has begun already
            about = chunk.get("messageMetadata")
            return frame({"type": "message-metadata", "messageMetadata": about}) if about else b""
        if kind in ("start-step", "finish-step"):
            self._step_is_over |= self._has_content
            return self._end_parts()
        if kind in _ENDS:
            self._is_complete = True
            if kind == "finish":
                return self._end_parts() + frame({"type": "finish-step"}) + frame(chunk)
            return self._end_part() + frame(chunk)
        within = kind.startswith("data-") or kind.endswith(_WITHIN)
        self._has_content = True
        return (b"" if within else self._step()) + frame(chunk)

    def _begin_part(self, kind: str) -> bytes:
        return self._step() + frame({"type": f"{kind}-start", "id": self._id()})

    def _delta(self, kind: str, text: str) -> bytes:
        return frame({"type": f"{kind}-delta", "id": self._id(), "delta": text})

    def _finish_part(self, kind: str) -> bytes:
        return frame({"type": f"{kind}-end", "id": self._id()})

    def _begin_call(self, identity: str, name: str) -> bytes:
        chunk = {"type": "tool-input-start", "toolCallId": identity, "toolName": name}
        return self._step() + frame(chunk)

    def _grow_call(self, identity: str, text: str) -> bytes:
        return frame({"type": "tool-input-delta", "toolCallId": identity, "inputTextDelta": text})

    def _end_call(self, identity: str, name: str, arguments: str) -> bytes:
        chunk = {"toolCallId": identity, "toolName": name}
        try:
            given = json.loads(arguments or "{}")
            return frame({"type": "tool-input-available", **chunk, "input": given})
        except (ValueError, RecursionError):
            error = "the input is not valid JSON"
            return frame(
                {"type": "tool-input-error", **chunk, "input": arguments, "errorText": error}
            )

    def _result(self, result: ToolResult) -> bytes:
        self._step_is_over = self._has_content = True
        chunk = {"toolCallId": result.id}
        if result.is_error:
            return frame({"type": "tool-output-error", **chunk, "errorText": result.content})
        chunk["type"] = "tool-output-available"
        try:
            return frame({**chunk, "output": json.loads(result.content)})
        except (ValueError, RecursionError):
            return frame({**chunk, "output": result.content})

    def _complete(self, event: StreamEvent | None) -> bytes:
        finish: dict[str, Any] = {"type": "finish", "finishReason": "stop"}
        if event is not None:
            finish["finishReason"] = _REASONS[event.finish_reason or "stop"]
        if event is not None and (usage := event.usage) is not None and usage.total_tokens:
            counted = {"inputTokens": usage.input_tokens, "outputTokens": usage.output_tokens}
            usage_object = {**counted, "totalTokens": usage.total_tokens}
            finish["messageMetadata"] = {"usage": usage_object}
        return frame({"type": "finish-step"}) + frame(finish)

    def _error(self, message: str, code: str | None) -> bytes:
        return frame({"type": "error", "errorText": message})

    def _abort(self) -> bytes:
        return frame({"type": "abort"})

    def _last(self) -> bytes:
        return b"data: [DONE]\n\n"

    def _id(self) -> str:
        return f"part_{self._parts}"

    def _step(self) -> bytes:
        """Return the start of a step, if the one before is over."""
        begins, self._step_is_over, self._has_content = self._step_is_over, False, True
        if not begins:
            return b""
        return frame({"type": "finish-step"}) + frame({"type": "start-step"})
