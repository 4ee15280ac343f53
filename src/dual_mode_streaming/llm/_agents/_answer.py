"""The answer that is made of an agent's items: numbers its calls, sums its usage, ends it once."""

from collections.abc import Iterator
from typing import Any

from dual_mode_streaming.llm._events import (
    EventType,
    FinishReason,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolResult,
    Usage,
)
from dual_mode_streaming.llm._fields import clean, json_text, plain, usage_of
from dual_mode_streaming.llm._provider import ProviderError, error_type_of
from dual_mode_streaming.llm._readers import finish_reason_of


def failed_with(message: str, status: int | None = None) -> StreamEvent:
    """Return the ERROR of a failure that an item reports."""
    kind = "server" if status is None else error_type_of(status)
    return StreamEvent(type=EventType.ERROR, error=message, error_type=kind, status=status)


def failure_of(error: ProviderError) -> StreamEvent:
    """Return the ERROR of what an API reported in its stream, or of a stream that was cut."""
    return StreamEvent(
        type=EventType.ERROR,
        error=str(error),
        error_type=error.error_type,
        status=error.status,
        retry_after=error.retry_after,
    )


class AgentAnswer:
    """Makes the events of one answer; the readers of the items call its methods.

    Attributes:
        calls: the index of each call, by a key of its library.
        open: the keys of the calls that have not ended.
        seen: the ids of messages that were read in parts.
        wrote: whether there was text.
        total: the usage of the whole run, where the library says it.
        raw: the reader of the message of an SDK that is being read.
        last: the last snapshot of a message, of libraries that send those.
        failure: the ERROR that ends the answer, unless the agent goes on.
        has_failed: whether an ERROR was yielded; nothing follows it.
    """

    def __init__(self) -> None:
        self.calls: dict[Any, int] = {}
        self.open: set[Any] = set()
        self.seen: set[str] = set()
        self.wrote = False
        self.total: Usage | None = None
        self.raw: Any = None
        self.last: Any = None
        self.failure: StreamEvent | None = None
        self.has_failed = False
        self._count = 0
        self._reason: FinishReason = "stop"
        self._usage = Usage()

    def end(self) -> Iterator[StreamEvent]:
        """Yield the last events: the ends of open calls, and MESSAGE_COMPLETE or the ERROR."""
        if self.has_failed:
            return
        if self.failure is not None:
            yield self.failure
            return
        for key in sorted(self.open, key=self.calls.__getitem__):
            yield from self.end_call(key)
        yield StreamEvent(
            type=EventType.MESSAGE_COMPLETE,
            finish_reason=self._reason,
            usage=self.total or self._usage,
        )

    def text(self, text: Any) -> Iterator[StreamEvent]:
        """Yield a piece of text."""
        if isinstance(text, str) and text:
            self.wrote = True
            yield StreamEvent(type=EventType.TEXT_DELTA, text_delta=TextDelta(content=clean(text)))

    def thinking(self, text: Any, signature: Any = None) -> Iterator[StreamEvent]:
        """Yield a piece of the reasoning."""
        text = text if isinstance(text, str) else ""
        signature = signature if isinstance(signature, str) else None
        if text or signature:
            delta = ThinkingDelta(content=text, signature=signature or None)
            yield StreamEvent(type=EventType.THINKING_DELTA, thinking_delta=delta)

    def start_call(self, key: Any, identity: Any, name: Any) -> Iterator[StreamEvent]:
        """Yield the start of a call; `key` names it to `arguments` and `end_call`."""
        index, self._count = self._count, self._count + 1
        self.calls[key] = index
        self.open.add(key)
        head = ToolCallDelta(
            index=index, id=str(identity or f"call_{index}"), name=str(name or "unnamed")
        )
        yield StreamEvent(type=EventType.TOOL_CALL_START, tool_call=head)

    def arguments(self, key: Any, text: Any) -> Iterator[StreamEvent]:
        """Yield a piece of the arguments of an open call."""
        if key in self.open and text:
            part = ToolCallDelta(index=self.calls[key], arguments=json_text(text))
            yield StreamEvent(type=EventType.TOOL_CALL_DELTA, tool_call=part)

    def end_call(self, key: Any) -> Iterator[StreamEvent]:
        """Yield the end of a call that is open."""
        if key in self.open:
            self.open.discard(key)
            end = ToolCallDelta(index=self.calls[key])
            yield StreamEvent(type=EventType.TOOL_CALL_END, tool_call=end)

    def call(self, identity: Any, name: Any, arguments: Any) -> Iterator[StreamEvent]:
        """Yield a whole call, unless it was read before."""
        key = ("id", identity)
        if identity and key in self.calls:
            return
        yield from self.start_call(key, identity, name)
        yield from self.arguments(key, json_text(arguments) or "{}")
        yield from self.end_call(key)

    def result(self, identity: Any, content: Any, failed: Any = False) -> Iterator[StreamEvent]:
        """Yield what a tool returned."""
        result = ToolResult(id=str(identity or ""), content=plain(content), is_error=bool(failed))
        yield StreamEvent(type=EventType.TOOL_RESULT, tool_result=result)

    def add_usage(self, usage: Any) -> None:
        """Add the usage of one message."""
        counted = usage_of(usage)
        self._usage = Usage(
            input_tokens=self._usage.input_tokens + counted.input_tokens,
            output_tokens=self._usage.output_tokens + counted.output_tokens,
        )

    def set_reason(self, reason: Any) -> None:
        """Note why a message ended, in the words of either API."""
        if isinstance(reason, str):
            self._reason = finish_reason_of(reason)

    def take(self, event: StreamEvent) -> Iterator[StreamEvent]:
        """Take an event of one message into the answer of several."""
        match event.type:
            case EventType.MESSAGE_COMPLETE:
                self._reason = event.finish_reason or "stop"
                self.add_usage(event.usage)
                if event.message is not None:
                    yield from self.thinking(event.message.thinking, event.message.signature)
                    yield from self.text(event.message.content)
                    for made in event.message.tool_calls:
                        yield from self.call(made.id, made.name, made.arguments)
                self.raw = None
            case EventType.ERROR:
                self.has_failed = True
                yield event
            case EventType.TOOL_CALL_START if (call := event.tool_call) is not None:
                yield from self.start_call(("event", call.index), call.id, call.name)
                self.calls[("id", call.id)] = self.calls[("event", call.index)]
            case EventType.TOOL_CALL_DELTA if (call := event.tool_call) is not None:
                yield from self.arguments(("event", call.index), call.arguments)
            case EventType.TOOL_CALL_END if (call := event.tool_call) is not None:
                yield from self.end_call(("event", call.index))
            case _:
                self.wrote = self.wrote or event.type is EventType.TEXT_DELTA
                yield event


def ignored(_answer: AgentAnswer, _item: Any) -> Iterator[StreamEvent]:
    """Read an item that has no part in the answer."""
    yield from ()
