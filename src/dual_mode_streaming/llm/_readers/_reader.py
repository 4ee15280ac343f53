"""What the readers of all APIs share: text, thinking, usage and the end of an answer."""

import abc
from collections.abc import Iterator
from typing import Any, ClassVar

from dual_mode_streaming.llm._events import (
    EventType,
    FinishReason,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    Usage,
    fold,
)
from dual_mode_streaming.llm._fields import clean, get
from dual_mode_streaming.llm._provider import ProviderError
from dual_mode_streaming.llm._readers._calls import ToolCalls
from dual_mode_streaming.llm._readers._errors import error_of


class Reader(abc.ABC):
    """Reads the chunks of one answer of an API.

    Attributes:
        usage: the tokens, as far as they were reported.
        stop_sequence: the stop sequence that ended the answer, if one did.
    """

    _REASONS: ClassVar[dict[str, FinishReason]]

    def __init__(self) -> None:
        self.usage = Usage()
        self.stop_sequence: str | None = None
        self._reason: str | None = None
        self._began = False  # whether there was any content
        self._refused = False
        self._calls = ToolCalls()

    def feed(self, chunk: Any) -> list[StreamEvent]:
        """Return the events of a chunk; none for a chunk that has no meaning here.

        Raises:
            ProviderError: the chunk is an error.
        """
        if (error := error_of(chunk)) is not None:
            raise error
        return list(self._read(chunk))

    def end(self, *, is_complete: bool = False) -> list[StreamEvent]:
        """Return the last events: the ends of tool calls, and MESSAGE_COMPLETE.

        Args:
            is_complete: whether the API said that the stream ended, though not why.

        Raises:
            ProviderError: the answer was cut, or the API ended it for an error of its own.
        """
        if self._reason == "error":
            raise ProviderError("the provider ended its answer with an error", "server")
        if self._reason is None and not (is_complete and self._began):
            raise ProviderError("the answer ended without its final event", "stream_truncated")
        events = list(self._calls.end_all())
        reason = self._REASONS.get(self._reason or "", "stop")
        if self._refused:
            reason = "content_filter"
        elif self._calls.count and reason == "stop" and self.stop_sequence is None:
            reason = "tool_calls"  # agents end their loop at a stop
        complete = StreamEvent(
            type=EventType.MESSAGE_COMPLETE,
            finish_reason=reason,
            stop_sequence=self.stop_sequence,
            usage=self.usage,
        )
        return [*events, complete]

    def whole(self, body: Any) -> StreamEvent:
        """Return the MESSAGE_COMPLETE of an answer in one piece, with its message.

        Raises:
            ProviderError: it is an error, or no answer of this API.
        """
        if (error := error_of(body)) is not None:
            raise error
        events = list(self._read_whole(body))
        if self._reason is None and not self._began:
            raise ProviderError("the provider's answer has no message of a model", "server")
        return fold([*events, *self.end(is_complete=True)])

    @abc.abstractmethod
    def _read(self, chunk: Any) -> Iterator[StreamEvent]:
        """Yield the events of a chunk."""

    @abc.abstractmethod
    def _read_whole(self, body: Any) -> Iterator[StreamEvent]:
        """Yield the events of an answer in one piece."""

    def _text(self, text: Any) -> Iterator[StreamEvent]:
        if isinstance(text, str) and text:
            self._began = True
            yield StreamEvent(type=EventType.TEXT_DELTA, text_delta=TextDelta(content=clean(text)))

    def _thinking(self, text: Any, signature: Any = None) -> Iterator[StreamEvent]:
        text = clean(text) if isinstance(text, str) else ""
        signature = clean(signature) if isinstance(signature, str) and signature else None
        if text or signature:
            self._began = True
            delta = ThinkingDelta(content=text, signature=signature)
            yield StreamEvent(type=EventType.THINKING_DELTA, thinking_delta=delta)

    def _call(
        self, key: Any, identity: Any = None, name: Any = None, arguments: Any = None
    ) -> Iterator[StreamEvent]:
        self._began = True
        yield from self._calls.add(key, identity, name, arguments)

    def _set_reason(self, reason: Any) -> None:
        if isinstance(reason, str) and reason and self._reason is None:
            self._reason = reason

    def _set_usage(self, usage: Any, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        """Keep what a usage reports; later reports are cumulative."""
        self.usage = Usage(
            input_tokens=_count(usage, inputs) or self.usage.input_tokens,
            output_tokens=_count(usage, outputs) or self.usage.output_tokens,
        )


def _count(usage: Any, names: tuple[str, ...]) -> int:
    for name in names:
        tokens = get(usage, name)
        if isinstance(tokens, str) and tokens.isdecimal():
            tokens = int(tokens)
        if isinstance(tokens, int | float) and 0 < tokens < 1e15:
            return int(tokens)
    return 0
