"""Read fields of items that nobody validated: dicts or objects, with any value or none."""

import json
from collections.abc import Mapping
from typing import Any, Final

from dual_mode_streaming.llm._events import Usage


def get(item: Any, name: str) -> Any:
    """Return a field of a dict or of an object, None if it has none."""
    if type(item) is dict:  # the usual case, some 20 times a chunk; the other check costs more
        return item.get(name)
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


_COUNTS: Final = {
    "input": ("input_tokens",),
    "prompt": ("prompt_tokens",),
    "output": ("output_tokens", "completion_tokens"),
    "total": ("total_tokens",),
    "read": ("cache_read_input_tokens",),
    "written": ("cache_creation_input_tokens",),
    "cached": (
        *("prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens"),
        *("input_token_details.cache_read", "prompt_cache_hit_tokens", "cached_tokens"),
    ),
    "reasoning": (
        "completion_tokens_details.reasoning_tokens",
        "output_tokens_details.reasoning_tokens",
        "output_tokens_details.thinking_tokens",
        "output_token_details.reasoning",
        "reasoning_tokens",
    ),
}
"""The names of the counts in the usage of an answer. "input" leaves the cache out of the count if
"read" and "written" are there, "prompt" never does."""


def counts_of(usage: Any) -> dict[str, int]:
    """Return the counts that a usage has, of one that may be partial."""
    return {
        name: count
        for name, paths in _COUNTS.items()
        if (count := next((c for path in paths if (c := _count(usage, path))), 0))
    }


def usage_of(usage: Any) -> Usage:
    """Return the tokens of a usage, in the names of any API."""
    return usage_from(counts_of(usage))


def usage_from(counts: Mapping[str, int]) -> Usage:
    """Return the tokens of counts."""
    read, written = counts.get("read", 0), counts.get("written", 0)
    inputs = counts.get("prompt") or counts.get("input", 0) + read + written
    outputs = counts.get("output") or max(0, counts.get("total", inputs) - inputs)
    return Usage(
        input_tokens=inputs,
        output_tokens=outputs,
        cache_read_tokens=min(inputs, read or counts.get("cached", 0)),
        cache_write_tokens=min(inputs, written),
        reasoning_tokens=min(outputs, counts.get("reasoning", 0)),
    )


def _count(usage: Any, path: str) -> int:
    for name in path.split("."):
        usage = get(usage, name)
    if isinstance(usage, str) and usage.isdecimal() and len(usage) < 16:
        usage = int(usage)
    is_count = isinstance(usage, int | float) and not isinstance(usage, bool)
    return int(usage) if is_count and 0 < usage < 1e15 else 0


def kind_of(item: Any) -> str:
    """Return the `type` of an item; empty if it has none."""
    kind = get(item, "type")
    return kind if isinstance(kind, str) else ""
