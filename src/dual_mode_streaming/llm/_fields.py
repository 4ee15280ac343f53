"""Read fields of items that nobody validated: dicts or objects, with any value or none."""

import json
from collections.abc import Mapping
from typing import Any

from dual_mode_streaming.llm._events import Usage


def get(item: Any, name: str) -> Any:
    """Return a field of a dict or of an object, None if it has none."""
    try:
        return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)
    except Exception:  # a property of an object that nobody validated
        return None


def has(item: Any, name: str) -> bool:
    """Return whether an item has a field, even if it is None."""
    return name in item if isinstance(item, Mapping) else hasattr(item, name)


def clean(text: str) -> str:
    """Return `text` with U+FFFD for lone surrogates, which no encoder takes."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def parts(value: Any) -> list[Any]:
    """Return the parts of a list, or the one part that is not in a list; none of None."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def plain(content: Any) -> str:
    """Return the text of what a tool returned: text, parts with text, or JSON of anything else."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    texts = [part if isinstance(part, str) else get(part, "text") for part in parts(content)]
    if texts and all(isinstance(text, str) for text in texts):
        return "".join(texts)
    return json_text(content)


def json_text(value: Any) -> str:
    """Return JSON text; text is taken for JSON already, and None is no text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=_jsonable)


def _jsonable(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if callable(dump) else str(value)


def messages_in(state: Any) -> list[Any]:
    """Return the messages of a state of LangGraph."""
    return parts(state.get("messages")) if isinstance(state, Mapping) else []


def usage_of(usage: Any) -> Usage:
    """Return the tokens of a usage, in the names of either API; the cache's count as input."""
    read = get(usage, "cache_read_input_tokens"), get(usage, "cache_creation_input_tokens")
    inputs = _first(usage, "input_tokens", "prompt_tokens")
    return Usage(
        input_tokens=inputs + sum(_count(tokens) for tokens in read),
        output_tokens=_first(usage, "output_tokens", "completion_tokens"),
    )


def _first(usage: Any, *names: str) -> int:
    return next((count for name in names if (count := _count(get(usage, name)))), 0)


def _count(tokens: Any) -> int:
    return tokens if isinstance(tokens, int) and tokens > 0 else 0


def kind_of(item: Any) -> str:
    """Return the `type` of an item; empty if it has none."""
    kind = get(item, "type")
    return kind if isinstance(kind, str) else ""
