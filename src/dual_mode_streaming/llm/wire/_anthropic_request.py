"""A body of Anthropic's messages as a request."""

import json
from collections.abc import Mapping
from typing import Any, Final

from dual_mode_streaming.llm._requests import FROM_JSON, ChatRequest
from dual_mode_streaming.llm.wire._format import WireRequest
from dual_mode_streaming.llm.wire._parsing import (
    as_list,
    content_of,
    invalid,
    refuse_unsupported,
    stream_and_model,
)

_SUPPORTED: Final[Mapping[str, tuple[Any, ...]]] = {
    "billing_policy": ({"type": "billing_policy", "bill_to": "self"},),
    "container": (),
    "inference_geo": (),
    "mcp_servers": (),
}
_ONE_CALL: Final = "disable_parallel_tool_use"
_CHANGES: Final = ("tool_addition", "tool_removal")
"""Blocks of the conversation that change the tools, and say nothing."""
_THINKING: Final = {"enabled": True, "adaptive": "auto", "between_tools": "auto", "disabled": False}


def parse_anthropic(body: dict[str, Any]) -> WireRequest:
    """Parse a body; unknown fields are ignored, because clients add fields of their own.

    Raises:
        Problem: a field is wrong, or asks for what is not there.
        ValidationError: the same.
    """
    if body.get("max_tokens") is None:
        raise invalid("max_tokens", "Field required")
    return parse_counted(body)


def parse_counted(body: dict[str, Any]) -> WireRequest:
    """Parse the body of `count_tokens`, which needs no `max_tokens`."""
    refuse_unsupported(body, _SUPPORTED)
    if body.get("max_tokens") is not None:  # counting ignores it
        refuse_unsupported(body, {"compaction": ()})
    _refuse_thread(body.get("thread"))
    stream, model = stream_and_model(body)
    choice = body.get("tool_choice") or {}
    parallel = False if isinstance(choice, dict) and choice.get(_ONE_CALL) is True else None
    chosen = _tool_choice(choice)
    config = body.get("output_config")
    config = config if isinstance(config, dict) else {}
    tools, effort = _changed(body.get("messages"), as_list(body.get("tools") or []))
    chat = ChatRequest.model_validate(
        {
            "messages": _messages(body.get("system"), body.get("messages")),
            "model": model,
            "max_tokens": body.get("max_tokens"),
            "stop": body.get("stop_sequences") or (),
            "tools": _tools(tools, chosen),
            "tool_choice": chosen,
            "parallel_tool_calls": parallel,
            "temperature": body.get("temperature"),
            "top_p": body.get("top_p"),
            "top_k": body.get("top_k"),
            **_thinking(body.get("thinking")),
            "effort": effort or config.get("effort"),
            "output": _output(config.get("format") or body.get("output_format")),
        },
        context=FROM_JSON,
    )
    return WireRequest(chat, stream, model)


def _refuse_thread(given: Any) -> None:
    """Refuse a thread of messages that the API keeps: a client goes on without one at this code."""
    if isinstance(given, dict) and given.get("type") not in (None, "none"):
        raise invalid("thread", "not supported; send all messages", "unsupported_value")


def _thinking(given: Any) -> dict[str, Any]:
    kind = given.get("type") if isinstance(given, dict) else None
    if kind is None:
        return {}
    if not isinstance(kind, str) or kind not in _THINKING:
        raise invalid("thinking.type", f"{kind!r} is not one of {', '.join(_THINKING)}")
    budget = {"thinking_budget": given.get("budget_tokens")} if kind == "enabled" else {}
    return {"thinking": _THINKING[kind], **budget}


def _output(given: Any) -> dict[str, Any] | None:
    if given is None:
        return None
    if not isinstance(given, dict) or given.get("type") != "json_schema":
        raise invalid("output_config.format.type", "json_schema is needed")
    if not isinstance(given.get("schema"), dict):
        raise invalid("output_config.format.schema", "a JSON Schema is needed")
    return {"json_schema": given["schema"]}


def _messages(system: Any, given: Any) -> list[dict[str, Any]]:
    if not isinstance(given, list) or not given:
        raise invalid("messages", "a list of at least one message is needed")
    messages = []
    if system:
        messages.append({"role": "system", "content": content_of(system, "system", _part)})
    for number, message in enumerate(given):
        where = f"messages.{number}"
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("user", "assistant", "system"):
            raise invalid(f"{where}.role", "'user', 'assistant' or 'system' is needed")
        content = message.get("content")
        if isinstance(content, list):
            messages += _split(role, content, where)
        elif content is None or isinstance(content, str):
            messages.append({"role": role, "content": content or ""})
        else:
            raise invalid(f"{where}.content", "a string or a list of blocks is needed")
    return messages


def _split(role: str, blocks: list[Any], where: str) -> list[dict[str, Any]]:
    """Return one of their messages as ours, where each tool result is a message of its own."""
    results, calls, others = [], [], []
    changes = 0
    for number, block in enumerate(blocks):
        kind = block.get("type") if isinstance(block, dict) else None
        at = f"{where}.content.{number}"
        if kind == "tool_result" and role == "user":
            content = content_of(block.get("content"), f"{at}.content", _part)
            result = {"role": "tool", "content": content, "tool_call_id": block.get("tool_use_id")}
            results.append({**result, "is_error": block.get("is_error") is True})
        elif kind == "tool_use" and role == "assistant":
            arguments = json.dumps(block.get("input") or {}, ensure_ascii=False)
            calls.append({"id": block.get("id"), "name": block.get("name"), "arguments": arguments})
        elif kind in _CHANGES:
            changes += 1
        else:
            others.append(block)
    message: dict[str, Any] = {
        "role": role,
        "content": content_of(others, f"{where}.content", _part),
    }
    if calls:
        message["tool_calls"] = calls
    is_said = others or calls or not (results or changes)
    return [*results, message] if is_said else results


def _changed(given: Any, tools: list[Any]) -> tuple[list[Any], Any]:
    """Return the tools as the conversation changes them, and the newest effort that it asks for."""
    effort = None
    for message in given if isinstance(given, list) else []:
        if not isinstance(message, dict):
            continue
        config = message.get("output_config")
        effort = (config.get("effort") if isinstance(config, dict) else None) or effort
        content = message.get("content")
        for block in content if isinstance(content, list) else []:
            kind = block.get("type") if isinstance(block, dict) else None
            tool = block.get("tool") if kind in _CHANGES else None
            if not isinstance(tool, dict):
                continue
            changed = tool.get("definition") or tool
            name = changed.get("name") if isinstance(changed, dict) else None
            is_new = kind == "tool_addition" and tool.get("type") == "tool_definition"
            if is_new or kind == "tool_removal":
                tools = [t for t in tools if not isinstance(t, dict) or t.get("name") != name]
            if is_new:
                tools = [*tools, changed]
    return tools, effort


def _part(block: dict[str, Any], where: str) -> dict[str, Any] | None:
    """Return a block as a part of ours; what only this API knows is opaque."""
    match block.get("type"):
        case "text":
            return {"type": "text", "text": block.get("text")}
        case "thinking":
            text, signature = block.get("thinking") or "", block.get("signature") or None
            return {"type": "thinking", "text": text, "signature": signature}
        case "redacted_thinking":
            return {"type": "thinking", "signature": block.get("data"), "is_redacted": True}
        case "image":
            return {"type": "image", **(_source(block.get("source"), where) or {})}
        case "document":
            source = _source(block.get("source"), where)
            if source is not None:
                return {"type": "file", "name": block.get("title"), **source}
            return {"type": "opaque", "dialect": "anthropic", "value": block}
        case "search_result":
            texts = content_of(block.get("content"), f"{where}.content", _part)
            said = [] if isinstance(texts, str) else [p for p in texts if p["type"] == "text"]
            text = texts if isinstance(texts, str) else "\n".join(p["text"] for p in said)
            title = f"{block.get('title')} ({block.get('source')})"
            return {"type": "file", "name": title, "text": text}
        case "tool_reference":
            return {"type": "text", "text": f"The tool {block.get('tool_name')} is available."}
        case str(kind) if kind not in ("tool_result", "tool_use"):
            return {"type": "opaque", "dialect": "anthropic", "value": block}
    return None


def _source(given: Any, where: str) -> dict[str, Any] | None:
    match given.get("type") if isinstance(given, dict) else None:
        case "base64" if isinstance(given.get("data"), str):
            return {"data": given["data"], "media_type": given.get("media_type")}
        case "url" if isinstance(given.get("url"), str):
            return {"url": given["url"]}
        case "file" if isinstance(given.get("file_id"), str):
            return {"file_id": given["file_id"]}
        case "text" if isinstance(given.get("data"), str):
            return {"text": given["data"]}
        case "content":
            content = content_of(given.get("content"), f"{where}.source.content", _part)
            if isinstance(content, str):
                return {"text": content}
            texts = [part["text"] for part in content if part["type"] == "text"]
            return {"text": "\n".join(texts)} if len(texts) == len(content) else None
    raise invalid(f"{where}.source", "base64, url, file, text or content is needed")


def _tools(given: Any, choice: Any) -> list[dict[str, Any]]:
    """Return the functions. Tools of the API's own are left out, if none has to be called."""
    tools = []
    for number, tool in enumerate(as_list(given)):
        where = f"tools.{number}"
        kind = tool.get("type") if isinstance(tool, dict) else 0
        if kind not in ("custom", None):
            if isinstance(kind, str) and choice in (None, "auto", "none"):
                continue
            raise invalid(f"{where}.type", "not supported")
        parsed = {"name": tool.get("name"), "description": tool.get("description") or ""}
        if tool.get("input_schema") is not None:
            parsed["parameters"] = tool["input_schema"]
        if tool.get("strict") is not None:
            parsed["strict"] = tool["strict"]
        tools.append(parsed)
    return tools


def _tool_choice(given: Any) -> Any:
    kind = given.get("type") if isinstance(given, dict) else given
    if kind is None:
        return None
    if kind == "tool" and isinstance(given, dict):
        return {"name": given.get("name")}
    return {"auto": "auto", "any": "required", "none": "none"}.get(str(kind), kind)
