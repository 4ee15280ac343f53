"""Events of openai-agents: `Runner.run_streamed(...)`."""

from collections.abc import Iterator
from typing import Any, Final

from dual_mode_streaming.llm._agents._answer import AgentAnswer, ignored
from dual_mode_streaming.llm._agents._raw import reader_of as raw_reader_of
from dual_mode_streaming.llm._events import StreamEvent
from dual_mode_streaming.llm._fields import get, kind_of


def _agents_raw(answer: AgentAnswer, event: Any) -> Iterator[StreamEvent]:
    data = get(event, "data")
    if (reader := raw_reader_of(data)) is not None:
        yield from reader(answer, data)


def _agents_item(answer: AgentAnswer, event: Any) -> Iterator[StreamEvent]:
    item = get(event, "item")
    if get(event, "name") == "tool_output":
        raw = get(item, "raw_item")
        yield from answer.result(get(raw, "call_id"), get(item, "output"))


_READERS: Final = {
    "raw_response_event": _agents_raw,
    "run_item_stream_event": _agents_item,
    "agent_updated_stream_event": ignored,
}


def reader_of(item: Any) -> Any:
    """Return the reader of an event, by its type."""
    return _READERS.get(kind_of(item))
