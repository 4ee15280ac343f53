"""OpenAI's responses."""

import json
from collections.abc import Iterator
from typing import Any

from dual_mode_streaming.llm._events import StreamEvent
from dual_mode_streaming.llm._fields import get, parts
from dual_mode_streaming.llm._readers._errors import error_from
from dual_mode_streaming.llm._readers._reader import Reader

_ENDS = ("response.completed", "response.incomplete", "response.failed", "response.done")
_THINKING = ("response.reasoning_text.delta", "response.reasoning_summary_text.delta")


class ResponsesReader(Reader):
    """Reads responses. Items that come whole, without their parts before, are read whole."""

    def __init__(self) -> None:
        super().__init__()
        self._read_items: set[Any] = set()  # the items of which parts were read

    def _read(self, chunk: Any) -> Iterator[StreamEvent]:
        kind, key = get(chunk, "type"), _key_of(chunk)
        if kind == "response.output_text.delta":
            self._read_items.add(key)
            yield from self._text(get(chunk, "delta"))
        elif kind == "response.refusal.delta":
            self._read_items.add(key)
            yield from self._refusal(get(chunk, "delta"))
        elif kind in _THINKING:
            self._read_items.add(key)
            yield from self._thinking(get(chunk, "delta"))
        elif kind == "response.output_item.added":
            item = get(chunk, "item")
            if get(item, "type") == "function_call":
                yield from self._call(key, _call_id(item), get(item, "name"))
        elif kind == "response.function_call_arguments.delta":
            self._read_items.add(key)
            yield from self._call(key, arguments=get(chunk, "delta"))
        elif kind == "response.output_item.done":
            yield from self._item(key, get(chunk, "item"))
        elif kind in _ENDS:
            yield from self._read_whole(get(chunk, "response"))
            self._set_reason(kind.removeprefix("response."))
            self.is_done = True

    def _read_whole(self, body: Any) -> Iterator[StreamEvent]:
        if get(body, "status") == "failed":
            raise error_from(get(body, "error") or "the provider's response failed")
        for number, item in enumerate(parts(get(body, "output"))):
            yield from self._item(number, item)
        self._set_usage(get(body, "usage"))
        self._set_reason(get(get(body, "incomplete_details"), "reason"))
        self._set_reason(get(body, "status"))

    def _item(self, key: Any, item: Any) -> Iterator[StreamEvent]:
        """Read an item that is whole; nothing of it if its parts were read."""
        is_new = key not in self._read_items
        self._read_items.add(key)
        match get(item, "type"):
            case "message" if is_new:
                for part in parts(get(item, "content")):
                    yield from self._refusal(get(part, "refusal"))
                    yield from self._text(get(part, "text"))
            case "reasoning" if is_new:
                for part in (*parts(get(item, "summary")), *parts(get(item, "content"))):
                    yield from self._thinking(get(part, "text"))
            case "function_call":
                given = get(item, "arguments") if is_new else None
                yield from self._call(key, _call_id(item), get(item, "name"), given)
                yield from self._calls.end(key)
            case "custom_tool_call" if is_new:
                given = json.dumps({"input": get(item, "input")}, default=str)
                yield from self._call(key, _call_id(item), get(item, "name"), given)
                yield from self._calls.end(key)


def _key_of(chunk: Any) -> Any:
    """Return the number of the item that an event is about."""
    number = get(chunk, "output_index")
    return number if isinstance(number, int) else str(get(chunk, "item_id") or 0)


def _call_id(item: Any) -> Any:
    return get(item, "call_id") or get(item, "id")
