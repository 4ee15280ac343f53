"""Messages and chunks of LangChain, and what LangGraph makes of them."""

from collections.abc import Iterator, Mapping
from typing import Any

from dual_mode_streaming.llm._agents._answer import AgentAnswer
from dual_mode_streaming.llm._events import StreamEvent
from dual_mode_streaming.llm._fields import get, has, kind_of, messages_in, parts


def _chunk(answer: AgentAnswer, message: Any) -> Iterator[StreamEvent]:
    answer.seen.add(str(get(message, "id")))
    yield from _contents(answer, message)
    for part in parts(get(message, "tool_call_chunks")):
        key = ("chunk", get(message, "id"), get(part, "index"))
        identity = get(part, "id")
        if key not in answer.open or (identity and answer.calls.get(("id", identity)) is None):
            yield from answer.end_call(key)
            yield from answer.start_call(key, identity, get(part, "name"))
            answer.calls[("id", identity)] = answer.calls[key]
        yield from answer.arguments(key, get(part, "args"))
    if get(message, "chunk_position") == "last":
        for key in [key for key in answer.open if key[:2] == ("chunk", get(message, "id"))]:
            yield from answer.end_call(key)
    _end_message(answer, message)


def _whole(answer: AgentAnswer, message: Any) -> Iterator[StreamEvent]:
    """Read a whole message: of the assistant, unless its chunks were read, or of a tool."""
    kind, identity = get(message, "type"), str(get(message, "id"))
    if kind == "tool":
        key = f"result {get(message, 'tool_call_id')}"
        if key not in answer.seen:
            answer.seen.add(key)
            failed = get(message, "status") == "error"
            yield from answer.result(get(message, "tool_call_id"), get(message, "content"), failed)
    elif kind == "ai" and (identity not in answer.seen or identity == "None"):
        answer.seen.add(identity)
        yield from _contents(answer, message)
        for call in parts(get(message, "tool_calls")):
            yield from answer.call(get(call, "id"), get(call, "name"), get(call, "args"))
        _end_message(answer, message)


def _contents(answer: AgentAnswer, message: Any) -> Iterator[StreamEvent]:
    extra = get(message, "additional_kwargs")
    yield from answer.thinking(get(extra, "reasoning_content"))
    for block in parts(get(message, "content")):
        if isinstance(block, str):
            yield from answer.text(block)
        elif get(block, "type") == "text":
            yield from answer.text(get(block, "text"))
        elif get(block, "type") in ("thinking", "reasoning", "reasoning_content"):
            summary = parts(get(block, "summary"))
            told = get(block, "thinking") or get(block, "reasoning")
            told = told or "".join(str(get(part, "text") or "") for part in summary)
            yield from answer.thinking(told, get(block, "signature"))


def _end_message(answer: AgentAnswer, message: Any) -> None:
    answer.add_usage(get(message, "usage_metadata"))
    metadata = get(message, "response_metadata")
    answer.set_reason(get(metadata, "finish_reason") or get(metadata, "stop_reason"))


def _graph_tuple(answer: AgentAnswer, item: Any) -> Iterator[StreamEvent]:
    """Read `(message, metadata)`, `(mode, data)`, `(namespace, data)` or all three."""
    if len(item) == 2 and has(item[0], "content"):
        yield from _read(answer, item[0])
    elif item:
        yield from _read(answer, item[-1])


def _graph_part(answer: AgentAnswer, part: Any) -> Iterator[StreamEvent]:
    if get(part, "type") in ("messages", "updates", "values"):
        yield from _read(answer, get(part, "data"))


def _graph_updates(answer: AgentAnswer, update: Any) -> Iterator[StreamEvent]:
    """Read a state, or the updates of nodes: their new messages."""
    states = [update] if "messages" in update else list(update.values())
    for message in (message for state in states for message in messages_in(state)):
        if get(message, "type") in ("ai", "tool", "AIMessageChunk"):
            yield from _whole(answer, message)


def _chain_event(answer: AgentAnswer, event: Any) -> Iterator[StreamEvent]:
    """Read an event of `astream_events`; a chain's repeat those of its models and tools."""
    data = get(event, "data")
    match get(event, "event"):
        case "on_chat_model_stream":
            yield from _read(answer, get(data, "chunk"))
        case "on_llm_stream":
            yield from answer.text(get(get(data, "chunk"), "text"))
        case "on_chat_model_end":
            yield from _whole(answer, get(data, "output"))
        case "on_tool_end":
            yield from _whole(answer, get(data, "output"))


def _read(answer: AgentAnswer, item: Any) -> Iterator[StreamEvent]:
    if (reader := reader_of(item)) is not None:
        yield from reader(answer, item)


def reader_of(item: Any) -> Any:
    """Return the reader of a message, a chunk, an event, or an item of a stream mode."""
    if isinstance(item, tuple):
        return _graph_tuple
    if isinstance(item, Mapping):
        if "event" in item and "run_id" in item:
            return _chain_event
        if "ns" in item and "data" in item:
            return _graph_part
        is_state = any(messages_in(state) for state in (item, *item.values()))
        return _graph_updates if is_state else None
    kind = kind_of(item)
    if kind == "AIMessageChunk":
        return _chunk
    return _whole if kind in ("ai", "tool", "human", "system") else None
