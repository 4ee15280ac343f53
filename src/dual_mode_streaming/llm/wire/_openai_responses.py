"""OpenAI's responses, as openai-python 3 sends and parses them. They are not stored."""

from typing import Any, Final

from dual_mode_streaming.llm._events import StreamEvent
from dual_mode_streaming.llm._requests import ChatRequest
from dual_mode_streaming.llm.wire._format import WireRequest
from dual_mode_streaming.llm.wire._openai import (
    OpenAIFormat,
    function_of,
    has_thinking,
    stream_options_of,
)
from dual_mode_streaming.llm.wire._parsing import (
    as_list,
    invalid,
    refuse_unsupported,
    stream_and_model,
    text_of,
)
from dual_mode_streaming.llm.wire._response_objects import ResponseFrames, response_object

_TEXTS: Final = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
_UNSUPPORTED: Final = {
    "previous_response_id": None,
    "conversation": None,
    "prompt": None,
    "background": False,
    "top_logprobs": 0,
    "max_tool_calls": None,
}
_ECHOED: Final = ("instructions", "max_output_tokens", "reasoning", "temperature", "top_p")


class OpenAIResponses(OpenAIFormat):
    """The wire format of `POST /v1/responses`."""

    def parse(self, body: dict[str, Any]) -> WireRequest:
        """Parse a body; unknown fields are ignored, because clients add fields of their own."""
        refuse_unsupported(body, _UNSUPPORTED)
        stream, model = stream_and_model(body)
        stream_options_of(body, stream)
        _check_text_format(body.get("text"))
        reasoning = body.get("reasoning") or {}
        if not isinstance(reasoning, dict):
            raise invalid("reasoning", "an object is needed")
        limit = body.get("max_output_tokens")
        if limit is not None and (type(limit) is not int or limit < 1):
            raise invalid("max_output_tokens", "a positive integer is needed")
        tools = _tools(body.get("tools") or [])
        chat = ChatRequest.model_validate(
            {
                "messages": _messages(body.get("instructions"), body.get("input")),
                "model": model,
                "max_tokens": limit,
                "tools": [tool for tool, _ in tools],
                "tool_choice": _tool_choice(body.get("tool_choice") or "auto"),
                "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
                "temperature": body.get("temperature"),
                "top_p": body.get("top_p"),
                "thinking": has_thinking(reasoning.get("effort")),
            }
        )
        echo = {
            "model": model,
            "parallel_tool_calls": chat.parallel_tool_calls,
            "previous_response_id": None,
            "store": False,
            "text": {"format": {"type": "text"}},
            "tool_choice": body.get("tool_choice") or "auto",
            "tools": [tool for _, tool in tools],
            "truncation": "disabled",
            **{name: body.get(name) for name in _ECHOED},
        }
        return WireRequest(chat, stream, model, echo=echo)

    def frames(self, request: WireRequest, request_id: str, input_tokens: int) -> ResponseFrames:
        """Return the events of one answer."""
        return ResponseFrames(request_id.removeprefix("req_"), request.echo)

    def batch(self, request: WireRequest, request_id: str, event: StreamEvent) -> dict[str, Any]:
        """Return a response."""
        return response_object(request_id.removeprefix("req_"), request.echo, event)


def _check_text_format(given: Any) -> None:
    """Raise Problem if another output format than text is requested."""
    form = given.get("format") if isinstance(given, dict) else given
    kind = form.get("type") if isinstance(form, dict) else form
    if kind not in (None, "text"):
        raise invalid(
            "text.format", f"{kind!r} is not supported; only text is", "unsupported_value"
        )


def _messages(instructions: Any, given: Any) -> list[dict[str, Any]]:
    if instructions is not None and not isinstance(instructions, str):
        raise invalid("instructions", "a string is needed")
    messages: list[dict[str, Any]] = []
    if instructions:
        messages.append({"role": "system", "content": instructions})
    if isinstance(given, str):
        return [*messages, {"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise invalid("input", "a string or a list of at least one item is needed")
    for number, item in enumerate(given):
        where = f"input[{number}]"
        if not isinstance(item, dict):
            raise invalid(where, "an object is needed")
        _add(messages, item, where)
    return messages


def _add(messages: list[dict[str, Any]], item: dict[str, Any], where: str) -> None:
    """Add one item of the input; calls become part of the assistant's message before them."""
    match item.get("type") or "message":
        case "message":
            role = item.get("role")
            if role not in ("user", "assistant", "system", "developer"):
                reason = "user, assistant, system or developer is needed"
                raise invalid(f"{where}.role", reason)
            content = text_of(item.get("content"), f"{where}.content", _TEXTS)
            messages.append({"role": "system" if role == "developer" else role, "content": content})
        case "function_call":
            if not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": ""})
            call = {"id": item.get("call_id"), "name": item.get("name")}
            calls = messages[-1].setdefault("tool_calls", [])
            calls.append({**call, "arguments": item.get("arguments")})
        case "function_call_output":
            content = text_of(item.get("output"), f"{where}.output", _TEXTS)
            answer = {"role": "tool", "content": content, "tool_call_id": item.get("call_id")}
            messages.append(answer)
        case "reasoning":
            pass  # the reasoning of earlier answers is not needed
        case kind:
            raise invalid(f"{where}.type", f"{kind!r} is not supported", "unsupported_value")


def _tools(given: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return each tool twice: the fields of a `Tool`, and the tool as the answer repeats it."""
    tools = []
    for number, tool in enumerate(as_list(given)):
        fields = function_of(tool, tool, f"tools[{number}]")
        strict = tool.get("strict") is True
        echo = {"parameters": None, "type": "function", **fields, "strict": strict}
        tools.append((fields, echo))
    return tools


def _tool_choice(given: Any) -> Any:
    if isinstance(given, dict) and given.get("type") == "function":
        return {"name": given.get("name")}
    return given
