"""Anthropic's messages."""

from collections.abc import Iterator
from typing import Any

from dual_mode_streaming.llm._events import StreamEvent
from dual_mode_streaming.llm._fields import get, parts
from dual_mode_streaming.llm._readers._reader import Reader


class AnthropicReader(Reader):
    """Reads messages. Tools that the API runs itself are not calls for the caller: left out."""

    def __init__(self) -> None:
        super().__init__()
        self._inputs: dict[Any, Any] = {}  # inputs that came whole with the start of their block

    def _read(self, chunk: Any) -> Iterator[StreamEvent]:
        index = get(chunk, "index") if isinstance(get(chunk, "index"), int | str) else 0
        match get(chunk, "type"):
            case "message_start":
                message = get(chunk, "message")
                self._set_usage(get(message, "usage"))
                for block in parts(get(message, "content")):
                    yield from self._block(("start", self._calls.count), block)
            case "content_block_start":
                block = get(chunk, "content_block")
                yield from self._start(index, block)
            case "content_block_delta":
                yield from self._delta(index, get(chunk, "delta"))
            case "content_block_stop" if index in self._calls:
                yield from self._call(index, arguments=self._inputs.pop(index, None))
                yield from self._calls.end(index)
            case "message_delta":
                self._end_of(get(chunk, "delta"))
                self._set_usage(get(chunk, "usage"))
            case "message_stop":
                self.is_done = True
            case "message":  # of a server that does not stream
                yield from self.feed_whole(chunk)

    def _read_whole(self, body: Any) -> Iterator[StreamEvent]:
        for index, block in enumerate(parts(get(body, "content"))):
            yield from self._block(index, block)
        self._end_of(body)
        self._set_usage(get(body, "usage"))

    def end(self, *, is_complete: bool = False) -> list[StreamEvent]:
        """Return the last events, the inputs of tools that never ended included."""
        late = [
            event
            for index, given in self._inputs.items()
            for event in self._call(index, arguments=given)
        ]
        self._inputs = {}
        return [*late, *super().end(is_complete=is_complete)]

    def _start(self, index: Any, block: Any) -> Iterator[StreamEvent]:
        if get(block, "type") == "tool_use":
            yield from self._call(index, get(block, "id"), get(block, "name"))
            if given := get(block, "input"):
                self._inputs[index] = given
        else:
            yield from self._block(index, block)

    def _block(self, key: Any, block: Any) -> Iterator[StreamEvent]:
        match get(block, "type"):
            case "text":
                yield from self._text(get(block, "text"))
            case "thinking":
                yield from self._thinking(get(block, "thinking"), get(block, "signature"))
            case "redacted_thinking":
                yield from self._thinking("", redacted=get(block, "data"))
            case "tool_use":
                given = get(block, "input")
                yield from self._call(key, get(block, "id"), get(block, "name"), given)
                yield from self._calls.end(key)

    def _delta(self, index: Any, delta: Any) -> Iterator[StreamEvent]:
        match get(delta, "type"):
            case "text_delta":
                yield from self._text(get(delta, "text"))
            case "thinking_delta":
                yield from self._thinking(get(delta, "thinking"))
            case "signature_delta":
                yield from self._thinking("", get(delta, "signature"))
            case "input_json_delta" if index in self._calls and get(delta, "partial_json"):
                self._inputs.pop(index, None)
                yield from self._call(index, arguments=get(delta, "partial_json"))

    def _end_of(self, answer: Any) -> None:
        self._set_reason(get(answer, "stop_reason"))
        sequence = get(answer, "stop_sequence")
        self.stop_sequence = sequence if isinstance(sequence, str) else self.stop_sequence
