"""What the readers of all APIs share: text, thinking, usage and the end of an answer."""

import abc
from collections.abc import Iterator
from typing import Any, Final

from dual_mode_streaming.llm._events import (
    ErrorType,
    EventType,
    FinishReason,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    fold,
)
from dual_mode_streaming.llm._fields import clean, counts_of, usage_from
from dual_mode_streaming.llm._provider import ProviderError
from dual_mode_streaming.llm._readers._calls import ToolCalls
from dual_mode_streaming.llm._readers._errors import error_of, no_answer

_REASONS: Final[dict[str, FinishReason]] = {
    **dict.fromkeys(
        ("length", "max_tokens", "max_output_tokens", "model_length", "incomplete"), "length"
    ),
    "model_context_window_exceeded": "length",
    **dict.fromkeys(("tool_calls", "tool_call", "function_call", "tool_use"), "tool_calls"),
    **dict.fromkeys(("content_filter", "content_filtered", "refusal", "safety"), "content_filter"),
    **dict.fromkeys(("sensitive", "recitation", "guardrail_intervened"), "content_filter"),
    **dict.fromkeys(("prohibited_content", "blocklist", "spii"), "content_filter"),
    "pause_turn": "pause",
}
"""The reasons of all APIs, in lower case; a reason that is not here is a stop."""
_FAILED: Final[dict[str, ErrorType]] = {
    **dict.fromkeys(
        ("error", "failed", "abort", "aborted", "cancelled", "network_error"), "server"
    ),
    "malformed_function_call": "server",
    "insufficient_system_resource": "overloaded",
}
"""The reasons that are no end of an answer but a failure."""


def finish_reason_of(reason: str) -> FinishReason:
    """Return the finish reason that an API's own word stands for; an unknown word is a stop."""
    return _REASONS.get(reason.lower(), "stop")


class Reader(abc.ABC):
    """Reads the chunks of one answer of an API.

    Attributes:
        stop_sequence: the stop sequence that ended the answer, if one did.
        is_done: whether the API said that its stream has ended.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}  # of the usage, as far as it was reported
        self.stop_sequence: str | None = None
        self.is_done = False
        self._reason: str | None = None
        self._began = False  # whether there was any content
        self._refused = False
        self._half = ""  # the first half of a surrogate pair that was cut in two
        self._calls = ToolCalls()

    def feed(self, chunk: Any) -> list[StreamEvent]:
        """Return the events of a chunk; none for a chunk that has no meaning here.

        The text "[DONE]" is the end of a stream of OpenAI's.

        Raises:
            ProviderError: the chunk is an error.
        """
        if chunk == "[DONE]":
            self.is_done = True
            return []
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
        if self._reason in _FAILED:
            kind = _FAILED[self._reason]
            raise ProviderError(f"the provider ended its answer: {self._reason}", kind)
        if self._reason is None and not ((is_complete or self.is_done) and self._began):
            raise ProviderError("the answer ended without its final event", "stream_truncated")
        events = list(self._calls.end_all())
        if self._half:
            self._half = ""
            events += self._text("\ufffd")
        reason = finish_reason_of(self._reason or "")
        if self._refused:
            reason = "content_filter"
        elif self._calls.count and reason == "stop" and self.stop_sequence is None:
            reason = "tool_calls"  # agents end their loop at a stop
        elif reason == "tool_calls" and not self._calls.count:
            reason = "stop"  # and fail without calls
        complete = StreamEvent(
            type=EventType.MESSAGE_COMPLETE,
            finish_reason=reason,
            stop_sequence=self.stop_sequence,
            usage=usage_from(self._counts),
        )
        return [*events, complete]

    def feed_whole(self, body: Any) -> list[StreamEvent]:
        """Return the events of an answer in one piece, all but the last ones.

        Raises:
            ProviderError: it is an error, or no answer of this API.
        """
        if (error := error_of(body)) is not None:
            raise error
        events = list(self._read_whole(body))
        if self._reason is None and not self._began:
            raise no_answer()
        self.is_done = True
        return events

    def whole(self, body: Any) -> StreamEvent:
        """Return the MESSAGE_COMPLETE of an answer in one piece, with its message.

        Raises:
            ProviderError: it is an error, or no answer of this API.
        """
        return fold([*self.feed_whole(body), *self.end()])

    @property
    def has_reason(self) -> bool:
        """Whether the API said why the answer ended."""
        return self._reason is not None

    @abc.abstractmethod
    def _read(self, chunk: Any) -> Iterator[StreamEvent]:
        """Yield the events of a chunk."""

    @abc.abstractmethod
    def _read_whole(self, body: Any) -> Iterator[StreamEvent]:
        """Yield the events of an answer in one piece."""

    def _text(self, text: Any) -> Iterator[StreamEvent]:
        if isinstance(text, str) and text and (self._half or not text.isascii()):
            text, self._half = self._half + text, ""
            if "\ud800" <= text[-1] <= "\udbff":
                text, self._half = text[:-1], text[-1]
        if isinstance(text, str) and text:
            self._began = True
            yield StreamEvent(type=EventType.TEXT_DELTA, text_delta=TextDelta(content=clean(text)))

    def _refusal(self, text: Any) -> Iterator[StreamEvent]:
        if isinstance(text, str) and text:
            self._began = self._refused = True
            delta = TextDelta(content=clean(text), is_refusal=True)
            yield StreamEvent(type=EventType.TEXT_DELTA, text_delta=delta)

    def _thinking(
        self, text: Any, signature: Any = None, redacted: Any = None
    ) -> Iterator[StreamEvent]:
        text, signature, redacted = (
            clean(given) if isinstance(given, str) else "" for given in (text, signature, redacted)
        )
        if text or signature or redacted:
            self._began = True
            delta = ThinkingDelta(
                content=text, signature=signature or None, redacted=redacted or None
            )
            yield StreamEvent(type=EventType.THINKING_DELTA, thinking_delta=delta)

    def _call(
        self, key: Any, identity: Any = None, name: Any = None, arguments: Any = None
    ) -> Iterator[StreamEvent]:
        self._began = True
        yield from self._calls.add(key, identity, name, arguments)

    def _set_reason(self, reason: Any) -> None:
        """Keep the first reason, or the one that is an error."""
        if isinstance(reason, str) and reason:
            reason = reason.lower()
            if self._reason is None or reason in _FAILED:
                self._reason = reason

    def _set_usage(self, usage: Any) -> None:
        """Keep what a usage reports; later reports are cumulative."""
        if usage is not None:
            self._counts |= counts_of(usage)
