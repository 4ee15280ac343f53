"""Events of pydantic-ai: `Agent.run_stream_events(...)`."""

from collections.abc import Iterator
from typing import Any, Final

from dual_mode_streaming.llm._agents._answer import AgentAnswer, ignored
from dual_mode_streaming.llm._events import StreamEvent
from dual_mode_streaming.llm._fields import get, json_text, usage_of


def _part_start(answer: AgentAnswer, event: Any) -> Iterator[StreamEvent]:
    part, key = get(event, "part"), ("part", get(event, "index"))
    match get(part, "part_kind"):
        case "text":
            yield from answer.text(get(part, "content"))
        case "thinking":
            yield from answer.thinking(get(part, "content"), get(part, "signature"))
        case str(kind) if kind.endswith("tool-call"):
            identity = get(part, "tool_call_id")
            yield from answer.start_call(key, identity, get(part, "tool_name"))
            answer.calls[("id", identity)] = answer.calls[key]
            if isinstance(get(part, "args"), str):
                yield from answer.arguments(key, get(part, "args"))


def _part_delta(answer: AgentAnswer, event: Any) -> Iterator[StreamEvent]:
    delta, key = get(event, "delta"), ("part", get(event, "index"))
    match get(delta, "part_delta_kind"):
        case "text":
            yield from answer.text(get(delta, "content_delta"))
        case "thinking":
            yield from answer.thinking(get(delta, "content_delta"), get(delta, "signature_delta"))
        case "tool_call" if isinstance(get(delta, "args_delta"), str):
            yield from answer.arguments(key, get(delta, "args_delta"))


def _part_end(answer: AgentAnswer, event: Any) -> Iterator[StreamEvent]:
    part, key = get(event, "part"), ("part", get(event, "index"))
    if key in answer.open:
        if not isinstance(get(part, "args"), str):  # then no piece of them was text
            yield from answer.arguments(key, json_text(get(part, "args")) or "{}")
        yield from answer.end_call(key)


def _part_result(answer: AgentAnswer, event: Any) -> Iterator[StreamEvent]:
    part = get(event, "part") or get(event, "result")
    failed = get(part, "part_kind") == "retry-prompt" or get(part, "outcome") == "failed"
    yield from answer.result(get(part, "tool_call_id"), get(part, "content"), failed)


def _run_result(answer: AgentAnswer, event: Any) -> Iterator[StreamEvent]:
    usage = get(get(event, "result"), "usage")
    answer.total = usage_of(usage() if callable(usage) else usage)
    yield from ()


_READERS: Final = {
    "part_start": _part_start,
    "part_delta": _part_delta,
    "part_end": _part_end,
    "function_tool_result": _part_result,
    "output_tool_result": _part_result,
    "builtin_tool_result": _part_result,
    "agent_run_result": _run_result,
}


def reader_of(item: Any) -> Any:
    """Return the reader of an event, by its `event_kind`."""
    kind = get(item, "event_kind")
    return _READERS.get(kind, ignored) if isinstance(kind, str) else None
