"""Chunks of the openai and anthropic SDKs, as objects or dicts."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from dual_mode_streaming.llm._agents._answer import AgentAnswer, failure_of
from dual_mode_streaming.llm._events import StreamEvent
from dual_mode_streaming.llm._fields import get, has, kind_of
from dual_mode_streaming.llm._provider import ProviderError
from dual_mode_streaming.llm._readers import AnthropicReader, ChatReader, ResponsesReader


def _raw_chunk(answer: AgentAnswer, chunk: Any) -> Iterator[StreamEvent]:
    if answer.raw is None:
        answer.raw = ChatReader()
    yield from _feed_raw(answer, chunk)


def _raw_response(answer: AgentAnswer, event: Any) -> Iterator[StreamEvent]:
    if answer.raw is None or get(event, "type") == "response.created":
        answer.raw = ResponsesReader()
    yield from _feed_raw(answer, event)
    if get(event, "type") in _RESPONSE_ENDS:
        yield from end_raw(answer)


def raw_message(answer: AgentAnswer, event: Any) -> Iterator[StreamEvent]:
    kind = get(event, "type")
    if answer.raw is None or kind == "message_start":
        answer.raw = AnthropicReader()
    yield from _feed_raw(answer, event)
    if kind == "message_stop":
        yield from end_raw(answer)


def _raw_error(answer: AgentAnswer, event: Any) -> Iterator[StreamEvent]:
    if answer.raw is None:
        answer.raw = AnthropicReader() if has(event, "error") else ResponsesReader()
    yield from _feed_raw(answer, event)


def _feed_raw(answer: AgentAnswer, chunk: Any) -> Iterator[StreamEvent]:
    yield from _taken(answer, lambda: answer.raw.feed(chunk))


def end_raw(answer: AgentAnswer) -> Iterator[StreamEvent]:
    """Yield what is left of a message whose stream has ended, if there is one."""
    if answer.raw is not None:
        yield from _taken(answer, answer.raw.end)
        answer.raw = None


def _taken(answer: AgentAnswer, read: Callable[[], list[StreamEvent]]) -> Iterator[StreamEvent]:
    """Take the events that a reader gives; what it raises is an ERROR of the answer."""
    try:
        events = read()
    except ProviderError as error:
        events = [failure_of(error)]
    for event in events:
        yield from answer.take(event)


def _chat_stream(answer: AgentAnswer, event: Any) -> Iterator[StreamEvent]:
    """Read an event of `client.chat.completions.stream()`, which has the chunk."""
    yield from _raw_chunk(answer, get(event, "chunk"))


_RESPONSE_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_MESSAGES: Final = frozenset(
    {"message_start", "message_delta", "message_stop", "ping"}
    | {f"content_block_{part}" for part in ("start", "delta", "stop")}
)


def reader_of(item: Any) -> Any:
    """Return the reader of a chunk, by its type, or by the choices of a chat."""
    kind = kind_of(item)
    if kind.startswith("response."):
        return _raw_response
    if kind in _MESSAGES:
        return raw_message
    if kind == "chunk" and has(item, "chunk"):
        return _chat_stream
    if kind == "error":
        return _raw_error
    return _raw_chunk if has(item, "choices") else None
