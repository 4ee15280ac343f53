"""A request as a body of Anthropic's messages."""

from typing import Any, Final

from dual_mode_streaming.llm._parts import FilePart, ImagePart, Part, TextPart, ThinkingPart
from dual_mode_streaming.llm._readers import object_of
from dual_mode_streaming.llm._requests import ChatMessage, ChatRequest, NamedTool
from dual_mode_streaming.llm.providers._refusals import untranslatable

_API: Final = "Anthropic's messages"
_EFFORTS: Final = {"minimal": "low"}


def anthropic_body(request: ChatRequest, model: str, max_tokens: int) -> dict[str, Any]:
    """Return the body of a request.

    Args:
        request: the request.
        model: the model, if the request names none.
        max_tokens: the limit, if the request has none: this API needs one.

    Raises:
        ProviderError: the request asks for what the API does not have.
    """
    _refuse(request)
    limit = request.max_tokens or max_tokens + (request.thinking_budget or 0)
    body: dict[str, Any] = {
        "model": request.model or model,
        "max_tokens": limit,
        "messages": _messages(request.dialogue),
    }
    system = [part for m in request.messages if m.role == "system" for part in m.parts]
    if system:
        blocks = [_block(part, "system") for part in system]
        body["system"] = blocks[0]["text"] if len(blocks) == 1 else blocks
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    if request.tools:
        body["tools"] = [_tool(tool.model_dump(exclude_none=True)) for tool in request.tools]
    if (choice := _tool_choice(request)) is not None:
        body["tool_choice"] = choice
    if request.thinking_budget is not None and not _lacks_thinking(request.dialogue):
        body["thinking"] = {"type": "enabled", "budget_tokens": request.thinking_budget}
    elif request.thinking is not None and request.thinking_budget is None:
        body["thinking"] = {"type": "adaptive" if request.thinking else "disabled"}
    config: dict[str, Any] = {}
    if request.effort not in (None, "none"):
        config["effort"] = _EFFORTS.get(request.effort or "", request.effort)
    if request.output is not None:
        config["format"] = {"type": "json_schema", "schema": request.output.json_schema}
    if config:
        body["output_config"] = config
    for name in ("temperature", "top_p", "top_k"):
        if (value := getattr(request, name)) is not None:
            body[name] = value
    return body


def _lacks_thinking(dialogue: tuple[ChatMessage, ...]) -> bool:
    """Return whether a turn goes on without its thinking: the API then refuses a budget."""
    turn = next((m for m in reversed(dialogue) if m.role != "tool"), None)
    return bool(
        turn is not None
        and turn.tool_calls
        and not any(isinstance(part, ThinkingPart) and part.signature for part in turn.parts)
    )


def _refuse(request: ChatRequest) -> None:
    for name in ("presence_penalty", "frequency_penalty"):
        if getattr(request, name):
            raise untranslatable(name, "a penalty", _API)
    if request.output is not None and request.output.json_schema is None:
        raise untranslatable("response_format", "JSON without a schema", _API)


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    schema = tool.pop("parameters")
    return {**tool, "input_schema": {"type": "object", **schema}}


def _tool_choice(request: ChatRequest) -> dict[str, Any] | None:
    choice, parallel = request.tool_choice, request.parallel_tool_calls
    if not request.tools or (choice is None and parallel is not False):
        return None
    made: dict[str, Any]
    if isinstance(choice, NamedTool):
        made = {"type": "tool", "name": choice.name}
    else:
        made = {"type": {"required": "any", None: "auto"}.get(choice, choice)}
    if parallel is False and made["type"] != "none":
        made["disable_parallel_tool_use"] = True
    return made


def _messages(dialogue: tuple[ChatMessage, ...]) -> list[dict[str, Any]]:
    """Convert messages; tool results become the user's, and adjacent ones of a role are joined."""
    messages: list[dict[str, Any]] = []
    for number, message in enumerate(dialogue):
        role = "user" if message.role == "tool" else message.role
        blocks = _blocks(message, f"messages[{number}]")
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += blocks
        elif blocks:
            messages.append({"role": role, "content": blocks})
    return messages


def _blocks(message: ChatMessage, where: str) -> list[dict[str, Any]]:
    blocks = [_block(part, where) for part in message.parts if _is_said(part)]
    if message.role == "tool":
        text_only = len(blocks) == 1 and blocks[0]["type"] == "text"
        result: dict[str, Any] = {"type": "tool_result", "tool_use_id": message.tool_call_id}
        result["content"] = blocks[0]["text"] if text_only else blocks
        return [{**result, "is_error": True} if message.is_error else result]
    for call in message.tool_calls:
        named = {"type": "tool_use", "id": call.id, "name": call.name}
        blocks.append({**named, "input": object_of(call.arguments)})
    return blocks


def _is_said(part: Part) -> bool:
    """Return whether the API takes a part: no empty text, no thinking that it has not signed."""
    if isinstance(part, ThinkingPart):
        return part.signature is not None
    return not isinstance(part, TextPart) or bool(part.text)


def _block(part: Part, where: str) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    if isinstance(part, ThinkingPart):
        if part.is_redacted:
            return {"type": "redacted_thinking", "data": part.signature}
        return {"type": "thinking", "thinking": part.text, "signature": part.signature}
    if isinstance(part, ImagePart):
        return {"type": "image", "source": _source(part)}
    if isinstance(part, FilePart):
        titled = {} if part.name is None else {"title": part.name}
        return {"type": "document", "source": _source(part), **titled}
    if part.dialect == "anthropic":
        return part.value
    raise untranslatable(f"{where}.content", f"a part of type {part.kind!r}", _API)


def _source(part: ImagePart | FilePart) -> dict[str, Any]:
    if part.url is not None:
        return {"type": "url", "url": part.url}
    if part.file_id is not None:
        return {"type": "file", "file_id": part.file_id}
    if isinstance(part, FilePart) and part.text is not None:
        return {"type": "text", "media_type": "text/plain", "data": part.text}
    usual = "image/png" if isinstance(part, ImagePart) else "application/pdf"
    return {"type": "base64", "media_type": part.media_type or usual, "data": part.data}
