"""Chat completions, as OpenAI sends them, and as compatible servers do."""

from collections.abc import Iterator
from typing import Any, Final

from dual_mode_streaming.llm._events import StreamEvent
from dual_mode_streaming.llm._fields import get, parts
from dual_mode_streaming.llm._readers._errors import error_from
from dual_mode_streaming.llm._readers._reader import Reader

_BLOCKS: Final = ("reasoning_details", "thinking_blocks")
_PLAIN: Final = ("reasoning_content", "reasoning", "thinking")
_UNUSUAL: Final = frozenset((*_BLOCKS, *_PLAIN, "audio"))


class ChatReader(Reader):
    """Reads chat completions. A second choice, of `n` above 1, is not read."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: dict[str, Any] = {}  # the key of the call with this id
        self._last: Any = None  # the key of the last call

    def _read(self, chunk: Any) -> Iterator[StreamEvent]:
        choice = _first(get(chunk, "choices"))
        if error := get(choice, "error"):  # of OpenRouter
            raise error_from(error)
        for holder in (get(chunk, "x_groq"), choice, chunk):
            self._set_usage(get(holder, "usage"))
        delta = get(choice, "delta") or get(choice, "message")
        if type(delta) is not dict or not _UNUSUAL.isdisjoint(delta):
            yield from self._reasoning(delta)
            yield from self._text(get(get(delta, "audio"), "transcript"))
        for part in parts(get(delta, "content")) or parts(get(choice, "text")):
            yield from self._part(part)
        yield from self._refusal(get(delta, "refusal"))
        for call in parts(get(delta, "tool_calls")):
            yield from self._piece(call)
        if (function := get(delta, "function_call")) is not None:
            yield from self._call("function", None, get(function, "name"), _arguments(function))
        self._set_reason(get(choice, "finish_reason"))

    def _read_whole(self, body: Any) -> Iterator[StreamEvent]:
        yield from self._read(body)

    def _reasoning(self, delta: Any) -> Iterator[StreamEvent]:
        """Read the reasoning: servers name it differently, and some repeat it in two fields."""
        blocks = [block for name in _BLOCKS for block in parts(get(delta, name))]
        plain = (get(delta, name) for name in _PLAIN)
        text = next((text for text in plain if isinstance(text, str) and text), "")
        yield from self._thinking(text)
        for block in blocks:
            words = (get(block, name) for name in ("text", "summary", "thinking"))
            yield from self._thinking(
                "" if text else next((word for word in words if word), ""),
                get(block, "signature"),
                get(block, "data"),
            )

    def _part(self, part: Any) -> Iterator[StreamEvent]:
        """Read content: text, or a part of Mistral's lists."""
        if isinstance(part, str):
            yield from self._text(part)
        elif get(part, "thinking") is not None:
            for thought in parts(get(part, "thinking")):
                text = thought if isinstance(thought, str) else get(thought, "text")
                yield from self._thinking(text, get(part, "signature"))
        else:
            yield from self._refusal(get(part, "refusal"))
            yield from self._text(get(part, "text"))

    def _piece(self, call: Any) -> Iterator[StreamEvent]:
        """Read a piece of a tool call: its key is the index, or what the id and order tell."""
        if call is None or isinstance(call, str | bool | int | float):
            return
        index, identity, function = get(call, "index"), get(call, "id"), get(call, "function")
        identity = identity if isinstance(identity, str) and identity else None
        if isinstance(index, str) and index.isdecimal():
            index = int(index)
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
        if get(choice, "index") in (0, None, "0"):
            return choice
    return None


def _arguments(function: Any) -> Any:
    return get(function, "arguments")
