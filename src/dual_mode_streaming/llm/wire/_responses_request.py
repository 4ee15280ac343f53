"""A body of OpenAI's responses as a request."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from dual_mode_streaming.llm._requests import FROM_JSON, ChatRequest
from dual_mode_streaming.llm.wire._format import WireRequest
from dual_mode_streaming.llm.wire._openai import (
    JSON_OBJECT,
    function_of,
    has_thinking,
    output_of,
    stream_options_of,
    tool_choice_of,
)
from dual_mode_streaming.llm.wire._parsing import (
    as_list,
    invalid,
    positive,
    refuse_unsupported,
    stream_and_model,
)
from dual_mode_streaming.llm.wire._responses_items import messages_of_items, settings_of_items

_SUPPORTED: Final[Mapping[str, tuple[Any, ...]]] = {
    "previous_response_id": (),
    "conversation": (),
    "prompt": (),
    "background": (),
    "top_logprobs": (),
    "moderation": (),
}
_ECHOED: Final = (
    *("instructions", "max_output_tokens", "max_tool_calls", "prompt_cache_key"),
    *("safety_identifier", "user"),
)


def parse_responses(
    body: dict[str, Any], item_of: Callable[[str], dict[str, Any] | None]
) -> WireRequest:
    """Parse a body; unknown fields are ignored, because clients add fields of their own.

    Args:
        body: the body.
        item_of: returns the item with an id, if it is remembered.

    Raises:
        Problem: a field is wrong, or asks for what is not there.
        ValidationError: the same.
    """
    refuse_unsupported(body, _SUPPORTED)
    if "message.output_text.logprobs" in as_list(body.get("include")):
        raise invalid("include", "logprobs are not supported", "unsupported_value")
    stream, model = stream_and_model(body)
    stream_options_of(body, stream)
    reasoning = body.get("reasoning") or {}
    if not isinstance(reasoning, dict):
        raise invalid("reasoning", "an object is needed")
    added, changed = settings_of_items(body.get("input"))
    reasoning = {**reasoning, **changed}
    text = body.get("text") or {}
    if not isinstance(text, dict):
        raise invalid("text", "an object is needed")
    choice, allowed = tool_choice_of(body.get("tool_choice"))
    given = as_list(body.get("tools") or [])
    named = [(f"tools[{number}]", tool) for number, tool in enumerate(given)]
    tools, calls = _tools([*named, *added], choice)
    effort = reasoning.get("effort")
    chat = ChatRequest.model_validate(
        {
            "messages": messages_of_items(body.get("instructions"), body.get("input"), item_of),
            "model": model,
            "max_tokens": positive(body, "max_output_tokens"),
            "tools": [
                tool for tool in tools if allowed is None or str(tool.get("name")) in allowed
            ],
            "tool_choice": choice,
            "parallel_tool_calls": body.get("parallel_tool_calls"),
            "temperature": body.get("temperature"),
            "top_p": body.get("top_p"),
            "thinking": has_thinking(effort),
            "effort": effort,
            "verbosity": text.get("verbosity"),
            "output": _output(text.get("format")),
        },
        context=FROM_JSON,
    )
    echo = {
        **{name: body.get(name) for name in _ECHOED},
        "background": False,
        "frequency_penalty": 0.0,
        "metadata": body.get("metadata") or {},
        "model": model,
        "parallel_tool_calls": chat.parallel_tool_calls is not False,
        "presence_penalty": 0.0,
        "previous_response_id": None,
        "reasoning": {"effort": effort, "summary": reasoning.get("summary")},
        "service_tier": body.get("service_tier") or "default",
        "store": body.get("store") is not False,
        "temperature": 1.0 if chat.temperature is None else chat.temperature,
        "text": {"verbosity": "medium", **text, "format": text.get("format") or {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": [_echoed(tool) for tool in given],
        "top_logprobs": 0,
        "top_p": 1.0 if chat.top_p is None else chat.top_p,
        "truncation": body.get("truncation") or "disabled",
    }
    return WireRequest(chat, stream, model, echo=echo, calls=calls)


def _output(given: Any) -> dict[str, Any] | None:
    kind = given.get("type") if isinstance(given, dict) else given
    if kind in (None, "text"):
        return None
    if kind == "json_object":
        return JSON_OBJECT
    if kind != "json_schema":
        reason = "text, json_object or json_schema is needed"
        raise invalid("text.format", f"{kind!r} is not supported: {reason}", "unsupported_value")
    return output_of(given, "text.format")


def _tools(
    given: list[tuple[str, Any]], choice: Any
) -> tuple[list[dict[str, Any]], dict[str, Mapping[str, Any]]]:
    """Return the functions, and what calls of those are that are more than functions.

    The tools come with their paths, for problems.
    A namespace is unfolded into its functions. A custom tool, whose input is text, is a function of
    that text. Tools that only OpenAI can run are left out, if none of them has to be called.
    """
    tools: list[dict[str, Any]] = []
    calls: dict[str, Mapping[str, Any]] = {}

    def add(tool: Any, where: str, namespace: str | None = None) -> None:
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind == "namespace" and namespace is None:
            for number, inner in enumerate(as_list(tool.get("tools") or [])):
                add(inner, f"{where}.tools[{number}]", str(tool.get("name")))
            return
        if kind == "custom":
            text = {"type": "object", "properties": {"input": {"type": "string"}}}
            about = {"name": tool.get("name"), "description": tool.get("description") or ""}
            tools.append({**about, "parameters": {**text, "required": ["input"]}})
            calls[str(tool.get("name"))] = {"type": "custom_tool_call"}
        elif isinstance(kind, str) and kind != "function" and choice in (None, "auto", "none"):
            return
        else:
            tools.append(function_of(tool, tool, where))
        if namespace is not None:
            name = str(tool.get("name"))
            calls[name] = {**calls.get(name, {}), "namespace": namespace}

    for where, tool in given:
        add(tool, where)
    unique = {str(tool.get("name")): tool for tool in tools}
    return list(unique.values()), calls


def _echoed(tool: dict[str, Any]) -> dict[str, Any]:
    """Return a tool as the answer repeats it."""
    if tool.get("type") != "function":
        return tool
    usual = {"description": None, "parameters": None}
    return {**usual, **tool, "strict": tool.get("strict") is True}
