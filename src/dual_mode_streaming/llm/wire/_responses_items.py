"""The items of OpenAI's responses: of a request, as messages, and of answers, remembered."""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm.wire._openai import data_or_url
from dual_mode_streaming.llm.wire._parsing import as_list, content_of, invalid

_ROLES: Final = ("user", "assistant", "system", "developer")
_RESULTS: Final = ("function_call_output", "custom_tool_call_output")
REDACTED: Final = "redacted:"
"""Before the `encrypted_content` of a reasoning item that is a redacted block of another API."""
_SETTINGS: Final = ("additional_tools", "configuration_update")
"""Items that change the request and say nothing; `settings_of_items` reads them."""


class RememberedItems:
    """The newest output items of answers, for requests that name them by their id.

    Args:
        size: the number of items that are kept.
    """

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._items: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def get(self, identity: str) -> dict[str, Any] | None:
        """Return the item with an id."""
        return self._items.get(identity)

    def add(self, items: Iterable[dict[str, Any]]) -> None:
        """Keep items, and forget the oldest ones."""
        for item in items:
            self._items[str(item.get("id"))] = item
        while len(self._items) > self._size:
            self._items.popitem(last=False)


def messages_of_items(
    instructions: Any, given: Any, item_of: Callable[[str], dict[str, Any] | None]
) -> list[dict[str, Any]]:
    """Return the messages of a request's instructions and input. Raises Problem."""
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
        if (identity := reference_of(item)) is not None:
            item = _referenced(identity, item_of, where)
        if item.get("type") not in _SETTINGS:
            _add(messages, item, where)
    if not messages:
        raise invalid("input", "at least one item that says something is needed")
    return messages


def settings_of_items(given: Any) -> tuple[list[tuple[str, Any]], dict[str, Any]]:
    """Return what the items of an input change: the tools they add, and the newest reasoning.

    Each tool comes with its path, for problems.
    """
    tools: list[tuple[str, Any]] = []
    reasoning: dict[str, Any] = {}
    for number, item in enumerate(given if isinstance(given, list) else []):
        if not isinstance(item, dict):
            continue
        if item.get("type") in ("additional_tools", "tool_search_output"):
            where = f"input[{number}].tools"
            added = enumerate(as_list(item.get("tools") or []))
            tools += [(f"{where}[{index}]", tool) for index, tool in added]
        elif item.get("type") == "configuration_update":
            changed = item.get("reasoning")
            reasoning |= changed if isinstance(changed, dict) else {}
    return tools, reasoning


def text_of_custom(arguments: str) -> str:
    """Return the text that a custom tool is given: our function of it has it as its argument."""
    try:
        return str(json.loads(arguments)["input"])
    except (ValueError, KeyError, TypeError):
        return arguments


def reference_of(item: Any) -> str | None:
    """Return the id of the item that an item of the input stands for; None if it is one itself."""
    if not isinstance(item, dict):
        return None
    is_reference = item.get("type") == "item_reference" or set(item) == {"id"}
    return str(item.get("id")) if is_reference else None


def _referenced(
    identity: str, item_of: Callable[[str], dict[str, Any] | None], where: str
) -> dict[str, Any]:
    item = item_of(identity)
    if item is None:
        reason = f"{where}.id: no item {identity!r} is remembered; send the item itself"
        raise Problem(404, reason, param=f"{where}.id", code="item_not_found")
    return item


def _add(messages: list[dict[str, Any]], item: dict[str, Any], where: str) -> None:
    """Add one item of the input. Calls and reasoning are of the assistant's message."""
    kind = item.get("type") or "message"
    if kind == "message":
        role = item.get("role")
        if role not in _ROLES:
            raise invalid(f"{where}.role", f"{', '.join(_ROLES)} is needed")
        content = content_of(item.get("content"), f"{where}.content", _part)
        role = "system" if role == "developer" else role
        last = messages[-1] if messages else {}
        if role == "assistant" and last.get("role") == role and not last.get("tool_calls"):
            last["content"] = [*_parts(last["content"]), *_parts(content)]
        else:
            messages.append({"role": role, "content": content})
    elif kind in ("function_call", "custom_tool_call"):
        call = {"id": item.get("call_id"), "name": item.get("name")}
        arguments = item.get("arguments")
        if kind == "custom_tool_call":
            arguments = json.dumps({"input": item.get("input")}, ensure_ascii=False)
        calls = _assistant(messages).setdefault("tool_calls", [])
        calls.append({**call, "arguments": arguments})
    elif kind in _RESULTS:
        content = content_of(item.get("output"), f"{where}.output", _part)
        answer = {"role": "tool", "content": content, "tool_call_id": item.get("call_id")}
        messages.append(answer)
    elif kind == "reasoning":
        _add_part(_assistant(messages, after_calls=False), _thinking(item))
    elif isinstance(kind, str):
        opaque = {"type": "opaque", "dialect": "openai-responses", "value": item}
        if kind.endswith("_output"):
            messages.append({"role": "user", "content": [opaque]})
        else:
            _add_part(_assistant(messages), opaque)
    else:
        raise invalid(f"{where}.type", "a string is needed")


def _assistant(messages: list[dict[str, Any]], *, after_calls: bool = True) -> dict[str, Any]:
    """Return the message of the assistant that goes on, or a new one."""
    last = messages[-1] if messages else {}
    if last.get("role") != "assistant" or (last.get("tool_calls") and not after_calls):
        last = {"role": "assistant", "content": ""}
        messages.append(last)
    return last


def _parts(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content


def _add_part(message: dict[str, Any], part: dict[str, Any]) -> None:
    message["content"] = [*_parts(message["content"]), part]


def _thinking(item: dict[str, Any]) -> dict[str, Any]:
    texts = [
        str(part.get("text") or "")
        for field in ("summary", "content")
        for part in as_list(item.get(field) or [])
        if isinstance(part, dict)
    ]
    signature = item.get("encrypted_content")
    sealed = signature if isinstance(signature, str) and signature else None
    if sealed and sealed.startswith(REDACTED):
        data = sealed.removeprefix(REDACTED)
        return {"type": "thinking", "signature": data, "is_redacted": True}
    return {"type": "thinking", "text": "".join(texts), "signature": sealed}


def _part(part: dict[str, Any], where: str) -> dict[str, Any] | None:
    """Return a part of an item's content as ours; None if it has no such type."""
    match part.get("type"):
        case "input_text" | "output_text" | "text" | "reasoning_text" | "summary_text":
            return {"type": "text", "text": part.get("text")}
        case "refusal":
            return {"type": "text", "text": part.get("refusal")}
        case "input_image":
            source: dict[str, Any] = {"file_id": part.get("file_id")}
            if part.get("image_url") is not None or source["file_id"] is None:
                source = data_or_url(part.get("image_url"), f"{where}.image_url")
            return {"type": "image", "detail": part.get("detail"), **source}
        case "input_file":
            source = {"file_id": part.get("file_id"), "url": part.get("file_url")}
            if part.get("file_data") is not None:
                source = data_or_url(part["file_data"], f"{where}.file_data", is_data=True)
            return {"type": "file", "name": part.get("filename"), **source}
        case "input_audio" | "encrypted_content" | "computer_screenshot":
            return {"type": "opaque", "dialect": "openai-responses", "value": part}
    return None
