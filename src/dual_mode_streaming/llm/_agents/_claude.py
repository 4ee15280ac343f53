"""Messages of the Claude Agent SDK: `query()` and `ClaudeSDKClient`."""

from collections.abc import Iterator
from typing import Any

from dual_mode_streaming.llm._agents._answer import AgentAnswer, failed_with, ignored
from dual_mode_streaming.llm._agents._raw import raw_message
from dual_mode_streaming.llm._events import StreamEvent
from dual_mode_streaming.llm._fields import get, has, parts, plain, usage_of


def _claude_partial(answer: AgentAnswer, message: Any) -> Iterator[StreamEvent]:
    event = get(message, "event")
    if get(message, "parent_tool_use_id") is not None:
        return
    if get(event, "type") == "message_start":
        answer.seen.add(str(get(get(event, "message"), "id")))
    yield from raw_message(answer, event)


def _claude_message(answer: AgentAnswer, message: Any) -> Iterator[StreamEvent]:
    """Read a message of the assistant, or the user's one with results of tools."""
    if get(message, "parent_tool_use_id") is not None:
        return
    if (error := get(message, "error")) is not None:
        answer.failure = failed_with(plain(get(message, "content")) or str(error))
        return
    answer.set_reason(get(message, "stop_reason"))
    identity = get(message, "message_id")
    repeated = str(identity) in answer.seen if identity else bool(answer.seen)
    is_assistant = has(message, "model")
    for block in parts(get(message, "content")):
        if has(block, "tool_use_id"):
            yield from answer.result(
                get(block, "tool_use_id"), get(block, "content"), get(block, "is_error")
            )
        elif repeated or not is_assistant:
            continue
        elif has(block, "thinking"):
            yield from answer.thinking(get(block, "thinking"), get(block, "signature"))
        elif has(block, "text"):
            yield from answer.text(get(block, "text"))
        elif has(block, "input"):
            yield from answer.call(get(block, "id"), get(block, "name"), get(block, "input"))


def _claude_result(answer: AgentAnswer, result: Any) -> Iterator[StreamEvent]:
    answer.set_reason(get(result, "stop_reason"))
    answer.total = usage_of(get(result, "usage"))
    text = get(result, "result")
    if get(result, "is_error"):
        errors = "; ".join(str(error) for error in parts(get(result, "errors")))
        status = get(result, "api_error_status")
        said = text if isinstance(text, str) and text else errors
        answer.failure = failed_with(
            said or str(get(result, "subtype") or "the agent failed"),
            status if isinstance(status, int) else None,
        )
    else:
        answer.failure = None  # an attempt that failed was followed by one that did not
        if not answer.wrote:
            yield from answer.text(text)


def reader_of(item: Any) -> Any:
    """Return the reader of a message of this SDK; they have no field that names their kind."""
    if isinstance(get(item, "type"), str):
        return None
    if has(item, "event") and has(item, "session_id"):
        return _claude_partial
    if has(item, "num_turns"):
        return _claude_result
    if has(item, "parent_tool_use_id"):
        return _claude_message
    if has(item, "subtype") or has(item, "rate_limit_info"):
        return ignored
    return None
