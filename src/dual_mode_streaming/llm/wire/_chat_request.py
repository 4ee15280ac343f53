"""A body of OpenAI's chat completions as a request."""

from collections.abc import Mapping
from typing import Any, Final

from dual_mode_streaming.llm._requests import FROM_JSON, ChatRequest
from dual_mode_streaming.llm.wire._format import WireRequest
from dual_mode_streaming.llm.wire._openai import (
    JSON_OBJECT,
    data_or_url,
    function_of,
    has_thinking,
    output_of,
    stream_options_of,
    tool_choice_of,
)
from dual_mode_streaming.llm.wire._parsing import (
    as_list,
    content_of,
    invalid,
    positive,
    refuse_unsupported,
    stream_and_model,
)

_SUPPORTED: Final[Mapping[str, tuple[Any, ...]]] = {
    "n": (1,),
    "logprobs": (),
    "top_logprobs": (),
    "audio": (),
    "modalities": (["text"],),
    "functions": (),
    "function_call": ("auto",),
    "moderation": (),
    "web_search_options": (),
    "logit_bias": (),
}


def parse_chat(body: dict[str, Any]) -> WireRequest:
    """Parse a body; unknown fields are ignored, because clients add fields of their own.

    Raises:
        Problem: a field is wrong, or asks for what is not there.
        ValidationError: the same.
    """
    refuse_unsupported(body, _SUPPORTED)
    stream, model = stream_and_model(body)
    options = stream_options_of(body, stream)
    stop = body.get("stop") or ()
    limit = positive(body, "max_completion_tokens")
    choice, allowed = tool_choice_of(body.get("tool_choice"))
    effort = body.get("reasoning_effort")
    chat = ChatRequest.model_validate(
        {
            "messages": _messages(body.get("messages")),
            "model": model,
            "max_tokens": body.get("max_tokens") if limit is None else limit,
            "stop": (stop,) if isinstance(stop, str) else stop,
            "tools": _tools(body.get("tools") or [], choice, allowed),
            "tool_choice": choice,
            "parallel_tool_calls": body.get("parallel_tool_calls"),
            "temperature": body.get("temperature"),
            "top_p": body.get("top_p"),
            "presence_penalty": body.get("presence_penalty"),
            "frequency_penalty": body.get("frequency_penalty"),
            "seed": body.get("seed"),
            "thinking": has_thinking(effort),
            "effort": effort,
            "verbosity": body.get("verbosity"),
            "output": _output(body.get("response_format")),
        },
        context=FROM_JSON,
    )
    return WireRequest(chat, stream, model, bool(options.get("include_usage")))


def _output(given: Any) -> dict[str, Any] | None:
    kind = given.get("type") if isinstance(given, dict) else given
    if kind in (None, "text"):
        return None
    if kind == "json_object":
        return JSON_OBJECT
    if kind != "json_schema" or not isinstance(given, dict):
        reason = "text, json_object or json_schema is needed"
        raise invalid("response_format.type", reason, "unsupported_value")
    return output_of(given.get("json_schema"), "response_format.json_schema")


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
            "content": content_of(message.get("content"), f"{where}.content", _part),
        }
        if not parsed["content"] and isinstance(message.get("refusal"), str):
            parsed["content"] = message["refusal"]
        if calls := message.get("tool_calls"):
            parsed["tool_calls"] = [_call(call, where) for call in as_list(calls)]
        if message.get("tool_call_id") is not None:
            parsed["tool_call_id"] = message["tool_call_id"]
        messages.append(parsed)
    return messages


def _part(part: dict[str, Any], where: str) -> dict[str, Any] | None:
    """Return a part of a message's content as ours; None if it has no such type."""
    match part.get("type"):
        case "text" | "refusal" as kind:
            return {"type": "text", "text": part.get(kind)}
        case "image_url":
            image = part.get("image_url")
            image = image if isinstance(image, dict) else {"url": image}
            source = data_or_url(image.get("url"), f"{where}.image_url.url")
            return {"type": "image", "detail": image.get("detail"), **source}
        case "file":
            file = part.get("file")
            if not isinstance(file, dict):
                raise invalid(f"{where}.file", "an object is needed")
            source = {"file_id": file.get("file_id")}
            if file.get("file_data") is not None:
                source = data_or_url(file["file_data"], f"{where}.file.file_data", is_data=True)
            return {"type": "file", "name": file.get("filename"), **source}
        case "input_audio" | "video_url" | "audio_url":
            return {"type": "opaque", "dialect": "openai-chat", "value": part}
    return None


def _call(call: Any, where: str) -> dict[str, Any]:
    try:
        if call.get("type") == "custom":
            given = call["custom"]
            return {"id": call["id"], "name": given["name"], "arguments": {"input": given["input"]}}
        function = call["function"]
        arguments = function["arguments"]
        return {"id": call["id"], "name": function["name"], "arguments": arguments}
    except (TypeError, KeyError, AttributeError):
        reason = "each needs an id and a function with name and arguments"
        raise invalid(f"{where}.tool_calls", reason) from None


def _tools(given: Any, choice: Any, allowed: set[str] | None) -> list[dict[str, Any]]:
    """Return the functions. Tools of other kinds are left out, if none has to be called."""
    tools = []
    for number, tool in enumerate(as_list(given)):
        where = f"tools[{number}]"
        kind = tool.get("type") if isinstance(tool, dict) else None
        if isinstance(kind, str) and kind != "function" and choice in (None, "auto", "none"):
            continue
        function = tool.get("function") if isinstance(tool, dict) else None
        tools.append(function_of(tool, function, where))
    return [tool for tool in tools if allowed is None or str(tool.get("name")) in allowed]
