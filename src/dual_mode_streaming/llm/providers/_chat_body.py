"""A request as a body of OpenAI's chat completions."""

import json
from typing import Any, Final

from dual_mode_streaming.llm._parts import FilePart, ImagePart, Part, TextPart, ThinkingPart
from dual_mode_streaming.llm._readers import object_of
from dual_mode_streaming.llm._requests import ChatMessage, ChatRequest, NamedTool, Tool
from dual_mode_streaming.llm.providers._refusals import untranslatable

_API: Final = "OpenAI's chat completions"


def chat_body(request: ChatRequest, model: str, *, limit: str) -> dict[str, Any]:
    """Return the body of a request.

    Args:
        request: the request.
        model: the model, if the request names none.
        limit: the field that has the most tokens: OpenAI's models want `max_completion_tokens`,
            other servers know `max_tokens`.

    Raises:
        ProviderError: the request asks for what the API does not have.
    """
    if request.top_k:
        raise untranslatable("top_k", "the number of tokens to sample from", _API)
    body: dict[str, Any] = {
        "model": request.model or model,
        "messages": _messages(request.messages),
        limit: request.max_tokens,
        "stop": list(request.stop) or None,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "seed": request.seed,
        "reasoning_effort": _effort(request),
        "verbosity": request.verbosity,
        "response_format": _response_format(request),
    }
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        body["parallel_tool_calls"] = request.parallel_tool_calls
        choice: Any = request.tool_choice
        if isinstance(choice, NamedTool):
            choice = {"type": "function", "function": {"name": choice.name}}
        body["tool_choice"] = choice
    return {name: value for name, value in body.items() if value is not None}


def _effort(request: ChatRequest) -> str | None:
    """Return the effort; without one it follows from the budget, or from the wish to see it."""
    if request.effort is not None:
        return request.effort
    if request.thinking_budget is not None:
        sizes = ((4096, "low"), (16384, "medium"))
        return next((name for most, name in sizes if request.thinking_budget <= most), "high")
    return "medium" if request.thinking is True else None


def _response_format(request: ChatRequest) -> dict[str, Any] | None:
    output = request.output
    if output is None:
        return None
    if output.json_schema is None:
        return {"type": "json_object"}
    strict = {} if output.strict is None else {"strict": output.strict}
    named = {"name": output.name or "answer", "schema": output.json_schema}
    return {"type": "json_schema", "json_schema": {**named, **strict}}


def _tool(tool: Tool) -> dict[str, Any]:
    return {"type": "function", "function": tool.model_dump(exclude_none=True)}


def _messages(messages: tuple[ChatMessage, ...]) -> list[dict[str, Any]]:
    """Convert messages. What results of tools show follows the last of them, as the user's."""
    converted: list[dict[str, Any]] = []
    shown: list[Part] = []
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        if shown and message.role != "tool":
            converted.append({"role": "user", **_content(shown, where)})
            shown = []
        parts: list[Part] = [p for p in message.parts if not isinstance(p, ThinkingPart)]
        if message.role == "tool":
            seen = [part for part in parts if isinstance(part, ImagePart | FilePart)]
            parts = [part for part in parts if part not in seen]
            if seen:
                shown += [TextPart(text=f"The result of {message.tool_call_id}:"), *seen]
        converted.append(_message(message, parts, where))
    if shown:
        converted.append({"role": "user", **_content(shown, "messages")})
    return converted


def _message(message: ChatMessage, parts: list[Part], where: str) -> dict[str, Any]:
    converted: dict[str, Any] = {"role": message.role, **_content(parts, where)}
    if message.tool_call_id is not None:
        converted["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        converted["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call.arguments)},
            }
            for call in message.tool_calls
        ]
    return converted


def _arguments(arguments: str) -> str:
    """Return arguments as valid JSON text; some servers fail on arguments that were cut."""
    return json.dumps(object_of(arguments), ensure_ascii=False)


def _content(parts: list[Part], where: str) -> dict[str, Any]:
    if not parts:
        return {"content": ""}
    if len(parts) == 1 and isinstance(parts[0], TextPart):
        return {"content": parts[0].text}
    return {"content": [_part(part, where) for part in parts]}


def _part(part: Part, where: str) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    if isinstance(part, ImagePart) and part.file_id is None:
        url = part.url or f"data:{part.media_type or 'image/png'};base64,{part.data}"
        detail = {} if part.detail is None else {"detail": part.detail}
        return {"type": "image_url", "image_url": {"url": url, **detail}}
    if isinstance(part, FilePart) and part.text is not None:
        title = f"{part.name}:\n" if part.name else ""
        return {"type": "text", "text": title + part.text}
    if isinstance(part, FilePart) and part.url is None:
        if part.file_id is not None:
            return {"type": "file", "file": {"file_id": part.file_id}}
        data = f"data:{part.media_type or 'application/pdf'};base64,{part.data}"
        return {"type": "file", "file": {"filename": part.name or "file.pdf", "file_data": data}}
    if isinstance(part, ThinkingPart):
        return {"type": "text", "text": part.text}
    if not isinstance(part, ImagePart | FilePart) and part.dialect == "openai-chat":
        return part.value
    what = "an uploaded file" if isinstance(part, ImagePart) else "a document by its URL"
    if not isinstance(part, ImagePart | FilePart):
        what = f"a part of type {part.kind!r}"
    raise untranslatable(f"{where}.content", what, _API)
