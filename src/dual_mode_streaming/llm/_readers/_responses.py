"""OpenAI's responses."""

import json
from collections.abc import Iterator
from typing import Any

from dual_mode_streaming.llm._events import StreamEvent
from dual_mode_streaming.llm._fields import get, parts
from dual_mode_streaming.llm._readers._errors import error_from
from dual_mode_streaming.llm._readers._reader import Reader

_ENDS = tuple(
    f"response.{end}" for end in ("completed", "incomplete", "failed", "cancelled", "done")
)
_PARTS = {
    "output_text": "message",
    "refusal": "message",
    "reasoning_text": "reasoning",
    "reasoning_summary_text": "reasoning",
    "function_call_arguments": "function_call",
}
"""The parts that are streamed, and the types of their items."""


class ResponsesReader(Reader):
    """Reads responses. Items that come whole, without their parts before, are read whole."""

    def __init__(self) -> None:
        super().__init__()
        self._read_items: set[Any] = set()  # the keys and ids of items of which parts were read
        self._read_names: set[str] = set()  # ids of calls, and types of items without a number

    def _read(self, chunk: Any) -> Iterator[StreamEvent]:
        kind, key = get(chunk, "type"), _key_of(chunk)
        if not isinstance(kind, str):
            return
        if kind in _ENDS:
            yield from self._read_whole(get(chunk, "response"))
            self._set_reason(kind.removeprefix("response."))
            self.is_done = True
        elif kind == "response.output_item.added":
            item = get(chunk, "item")
            if get(item, "type") == "function_call":
                self._read_names.add(str(_call_id(item)))
                yield from self._call(key, _call_id(item), get(item, "name"))
        elif kind == "response.output_item.done":
            yield from self._item(key, get(chunk, "item"))
        elif (part := kind.removeprefix("response.").rpartition("."))[0] in _PARTS:
            if part[2] == "done" and key in self._read_items:
                return
            name = {"reasoning_text": "text", "reasoning_summary_text": "text"}.get(part[0])
            name = name or part[0].removeprefix("output_").removeprefix("function_call_")
            given = get(chunk, "delta" if part[2] == "delta" else name)
            self._read_items |= {key, str(get(chunk, "item_id") or key)}
            if _PARTS[part[0]] == "function_call":
                yield from self._call(key, None, get(chunk, "name"), given)
            else:
                if not isinstance(key, int):
                    self._read_names.add(_PARTS[part[0]])
                read = {"reasoning": self._thinking, "message": self._text}[_PARTS[part[0]]]
                yield from (self._refusal if part[0] == "refusal" else read)(given)

    def _read_whole(self, body: Any) -> Iterator[StreamEvent]:
        if get(body, "status") == "failed":
            raise error_from(get(body, "error") or "the provider's response failed")
        for number, item in enumerate(parts(get(body, "output"))):
            if not self._read_names & {str(get(item, "type")), str(_call_id(item))}:
                yield from self._item(number, item)
        self._set_usage(get(body, "usage"))
        self._set_reason(get(get(body, "incomplete_details"), "reason"))
        self._set_reason(get(body, "status"))

    def _item(self, key: Any, item: Any) -> Iterator[StreamEvent]:
        """Read an item that is whole; nothing of it if its parts were read."""
        identity = str(get(item, "id") or key)
        is_new = not self._read_items & {key, identity}
        self._read_items |= {key, identity}
        match get(item, "type"):
            case "message" if is_new:
                for part in parts(get(item, "content")):
                    yield from self._refusal(get(part, "refusal"))
                    yield from self._text(get(part, "text"))
            case "reasoning" if is_new:
                for part in (*parts(get(item, "summary")), *parts(get(item, "content"))):
                    yield from self._thinking(get(part, "text"))
            case "function_call":
                self._read_names.add(str(_call_id(item)))
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
