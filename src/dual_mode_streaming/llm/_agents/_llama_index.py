"""Events of LlamaIndex: its agents and its models."""

from collections.abc import Iterator
from typing import Any

from dual_mode_streaming.llm._agents._answer import AgentAnswer, ignored
from dual_mode_streaming.llm._events import StreamEvent
from dual_mode_streaming.llm._fields import get, has, parts


def _llama_delta(answer: AgentAnswer, event: Any) -> Iterator[StreamEvent]:
    """Read a chunk of a model or of an agent's; a model's is a snapshot too."""
    extra = get(event, "additional_kwargs")
    yield from answer.thinking(get(event, "thinking_delta") or get(extra, "thinking_delta"))
    yield from answer.text(get(event, "delta"))
    answer.last = event if has(event, "message") else None


def _llama_output(answer: AgentAnswer, event: Any) -> Iterator[StreamEvent]:
    if not answer.wrote:
        yield from answer.text(get(get(event, "response"), "content"))
    answer.add_usage(get(get(event, "raw"), "usage"))


def _llama_call(answer: AgentAnswer, event: Any) -> Iterator[StreamEvent]:
    yield from answer.call(
        get(event, "tool_id"), get(event, "tool_name"), get(event, "tool_kwargs")
    )


def _llama_result(answer: AgentAnswer, event: Any) -> Iterator[StreamEvent]:
    yield from _llama_call(answer, event)
    output = get(event, "tool_output")
    yield from answer.result(get(event, "tool_id"), get(output, "content"), get(output, "is_error"))


def llama_calls(answer: AgentAnswer) -> Iterator[StreamEvent]:
    """Yield the calls of a model's last snapshot, if there is one."""
    message = get(answer.last, "message")
    for block in parts(get(message, "blocks")):
        if has(block, "tool_kwargs"):
            answer.set_reason("tool_calls")
            yield from answer.call(
                get(block, "tool_call_id"), get(block, "tool_name"), get(block, "tool_kwargs")
            )
    answer.add_usage(get(get(answer.last, "raw"), "usage"))


def reader_of(item: Any) -> Any:
    """Return the reader of an event, by the fields of its kind."""
    if has(item, "tool_output"):
        return _llama_result
    if has(item, "tool_kwargs"):
        return _llama_call
    if has(item, "delta") and has(item, "raw"):
        return _llama_delta
    if has(item, "response") and has(item, "current_agent_name"):
        return _llama_output
    return ignored if has(item, "current_agent_name") else None
