"""Chat completions, as OpenAI sends them, and as compatible servers do."""

from collections.abc import Iterator
from typing import Any, ClassVar

from dual_mode_streaming.llm._events import FinishReason, StreamEvent
from dual_mode_streaming.llm._fields import get, parts
from dual_mode_streaming.llm._readers._reader import Reader

_INPUTS = ("prompt_tokens", "input_tokens")
_OUTPUTS = ("completion_tokens", "output_tokens")


class ChatReader(Reader):
    """Reads chat completions. A second choice, of `n` above 1, is not read."""

    _REASONS: ClassVar[dict[str, FinishReason]] = {
        "length": "length",
        "max_tokens": "length",
        "model_length": "length",
        "tool_calls": "tool_calls",
        "function_call": "tool_calls",
        "tool_use": "tool_calls",
        "content_filter": "content_filter",
        "refusal": "content_filter",
    }

    def __init__(self) -> None:
        super().__init__()
        self._keys: dict[str, Any] = {}  # the key of the call with this id
        self._last: Any = None  # the key of the last call

    def _read(self, chunk: Any) -> Iterator[StreamEvent]:
        choice = _first(get(chunk, "choices"))
        for holder in (get(chunk, "x_groq"), choice, chunk):
            self._set_usage(get(holder, "usage"), _INPUTS, _OUTPUTS)
        delta = get(choice, "delta") or get(choice, "message")
        yield from self._thinking(_reasoning_of(delta))
        for part in parts(get(delta, "content")) or parts(get(choice, "text")):
            yield from self._part(part)
        if isinstance(refusal := get(delta, "refusal"), str) and refusal:
            self._refused = True
            yield from self._text(refusal)
        for call in parts(get(delta, "tool_calls")):
            yield from self._piece(call)
        if (function := get(delta, "function_call")) is not None:
            yield from self._call("function", None, get(function, "name"), _arguments(function))
        self._set_reason(get(choice, "finish_reason"))

    def _read_whole(self, body: Any) -> Iterator[StreamEvent]:
        yield from self._read(body)

    def _part(self, part: Any) -> Iterator[StreamEvent]:
        """Read content: text, or a part of Mistral's lists."""
        if isinstance(part, str):
            yield from self._text(part)
        elif get(part, "thinking") is not None:
            for thought in parts(get(part, "thinking")):
                text = thought if isinstance(thought, str) else get(thought, "text")
                yield from self._thinking(text, get(part, "signature"))
        else:
            yield from self._text(get(part, "text"))

    def _piece(self, call: Any) -> Iterator[StreamEvent]:
        """Read a piece of a tool call: its key is the index, or what the id and order tell."""
        index, identity, function = get(call, "index"), get(call, "id"), get(call, "function")
        identity = identity if isinstance(identity, str) and identity else None
        name = get(function, "name") or get(call, "name")
        if isinstance(index, int | str):
            key: Any = index
        elif identity in self._keys:
            key = self._keys[identity]
        elif (identity and name) or self._last is None:
            key = f"call {identity or self._calls.count}"
        else:
            key = self._last
        if identity:
            self._keys[identity] = key
        self._last = key
        yield from self._call(key, identity, name, _arguments(function))


def _first(choices: Any) -> Any:
    """Return the choice with the index 0, or the first that has none."""
    for choice in parts(choices):
        if get(choice, "index") in (0, None):
            return choice
    return None


def _arguments(function: Any) -> Any:
    return get(function, "arguments")


def _reasoning_of(delta: Any) -> str:
    """Return the reasoning: servers name it differently, and some repeat it in two fields."""
    for name in ("reasoning_content", "reasoning", "thinking"):
        if isinstance(text := get(delta, name), str) and text:
            return text
    details = parts(get(delta, "reasoning_details"))
    texts = (get(detail, "text") or get(detail, "summary") for detail in details)
    return "".join(text for text in texts if isinstance(text, str))
