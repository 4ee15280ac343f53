"""What a generator yields, as the parts of a front end's message."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from dual_mode_streaming.llm._events import (
    EventType,
    Message,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolResult,
    Usage,
)
from dual_mode_streaming.llm._problems import STATUS
from dual_mode_streaming.llm._provider import CUT
from dual_mode_streaming.llm.wire._format import message_of
from dual_mode_streaming.sse import HEARTBEAT, ServerSentEvent, dumps

_EVENTS: Final = frozenset(map(str, EventType))
_MAY_BE_NULL: Final = ("data", "input", "output", "snapshot", "value", "event", "result")


def event_of(item: Any) -> StreamEvent | dict[str, Any]:
    """Return an item as an event, or as the frame of a format that it is: an object with a type.

    Args:
        item: a `StreamEvent`, also as JSON, a text, an object of JSON, or a `ServerSentEvent` of
            one of these.

    Raises:
        TypeError: it is none of these.
    """
    if isinstance(item, StreamEvent):
        return item
    if isinstance(item, ServerSentEvent):
        item = item.data
    if isinstance(item, str):
        return StreamEvent(type=EventType.TEXT_DELTA, text_delta=TextDelta(content=item))
    if hasattr(item, "model_dump"):
        item = _dumped(item)
    if isinstance(item, dict) and isinstance(item.get("type"), str):
        if item["type"] in _EVENTS:
            try:
                return StreamEvent.model_validate(item)
            except ValidationError:  # a format may have a frame with the name of an event
                pass
        return {k: v for k, v in item.items() if v is not None or k in _MAY_BE_NULL}
    raise TypeError(
        f"an answer in this format has text, StreamEvents, or objects with a type, not {item!r:.80}"
    )


def _dumped(item: Any) -> Any:
    """Return a model as an object without its nulls, except those in the app's own data."""
    dumped = item.model_dump(mode="json", by_alias=True, exclude_none=True)
    kept = item.model_fields_set.intersection(_MAY_BE_NULL) if isinstance(item, BaseModel) else None
    if kept and isinstance(dumped, dict):
        dumped |= item.model_dump(mode="json", by_alias=True, include=kept)
    return dumped


class PartFrames(ABC):
    """The frames of a message of parts. A format says how each of them begins, goes on and ends.

    An answer is complete when its items end, or with the object that is the format's end; what
    comes after that is not sent. After a MESSAGE_COMPLETE another answer of the model may follow.
    """

    heartbeat = HEARTBEAT

    def __init__(self) -> None:
        self.count = 0
        self._open = ""  # the kind of the open part: text or reasoning
        self._parts = 0  # how many there were
        self._calls: dict[int, tuple[str, str, list[str]]] = {}  # the open ones
        self._completion: StreamEvent | None = None  # the last one, with the usage of all
        self._step_is_over = False  # the next part begins a new step
        self._is_complete = self._has_failed = False

    def opening(self, *, retry: int | None = None, reset: Any = None) -> bytes:
        """Return the frames before the first item; this format has neither retry nor reset."""
        return b""

    def item(self, item: Any) -> bytes:
        """Return the frames of an item; see `event_of` for what it may be."""
        self.count += 1
        event = event_of(item)
        if self._is_complete or self._has_failed:
            return b""
        if isinstance(event, dict):
            return self._chunk(event)
        if event.type is EventType.MESSAGE_COMPLETE and event.message is not None:
            return b"".join(map(self._event, (*deltas_of(event.message), event)))
        return self._event(event)

    def done(self) -> bytes:
        """Return the end of the answer; nothing if it has ended."""
        if self._has_failed:
            return b""
        ending = b"" if self._is_complete else self._end_parts() + self._complete(self._completion)
        return ending + self._last()

    def failed(self, problem: Mapping[str, Any], *, final: bool = True) -> bytes | None:
        """Return the end of a failed answer."""
        if self._has_failed or self._is_complete:
            return b"" if self._has_failed else self._last()
        self._has_failed = True  # the input of an open call is not complete, so it is not ended
        ending = self._end_part() + self._error(message_of(problem), problem.get("code"))
        return ending + self._last()

    def stopped(self) -> bytes:
        """Return the end of an answer that its user stopped."""
        if self._has_failed or self._is_complete:
            return self.done()
        self._has_failed = True
        return self._end_part() + self._abort() + self._last()

    def _event(self, event: StreamEvent) -> bytes:
        call = event.tool_call
        if event.text_delta is not None:
            return self._grow("text", event.text_delta.content)
        if event.thinking_delta is not None:
            frames = self._grow("reasoning", event.thinking_delta.content)
            return frames + (self._end_part() if event.thinking_delta.signature else b"")
        if call is not None:
            return self._call(event.type, call)
        if event.tool_result is not None:
            return self._end_parts() + self._result(event.tool_result)
        if event.type is EventType.ERROR:
            return self.failed(problem_of_event(event)) or b""
        if self._completion is not None:
            event = event.model_copy(update={"usage": _sum(self._completion.usage, event.usage)})
        self._completion, self._step_is_over = event, True
        return self._end_parts()

    def _grow(self, kind: str, text: str) -> bytes:
        if not text:
            return b""
        begun = b""
        if self._open != kind:
            begun = self._end_part()
            self._open = kind
            self._parts += 1
            begun += self._begin_part(kind)
        return begun + self._delta(kind, text)

    def _call(self, kind: EventType, call: ToolCallDelta) -> bytes:
        if kind is EventType.TOOL_CALL_START:
            identity, name = call.id or "", call.name or ""
            before = self._end_part()
            self._calls[call.index] = identity, name, []
            return before + self._begin_call(identity, name)
        identity, name, arguments = self._calls.get(call.index, ("", "", []))
        if kind is EventType.TOOL_CALL_DELTA:
            arguments.append(call.arguments or "")
            return self._grow_call(identity, call.arguments) if call.arguments else b""
        if self._calls.pop(call.index, None) is None:
            return b""
        return self._end_call(identity, name, "".join(arguments))

    def _end_part(self) -> bytes:
        kind, self._open = self._open, ""
        return self._finish_part(kind) if kind else b""

    def _end_parts(self) -> bytes:
        frames = self._end_part()
        for index in tuple(self._calls):
            identity, name, arguments = self._calls.pop(index)
            frames += self._end_call(identity, name, "".join(arguments))
        return frames

    # What a format says of it

    def _chunk(self, chunk: dict[str, Any]) -> bytes:
        """Return the frame of an object of the format."""
        return frame(chunk)

    @abstractmethod
    def _begin_part(self, kind: str) -> bytes: ...

    @abstractmethod
    def _delta(self, kind: str, text: str) -> bytes: ...

    @abstractmethod
    def _finish_part(self, kind: str) -> bytes: ...

    @abstractmethod
    def _begin_call(self, identity: str, name: str) -> bytes: ...

    @abstractmethod
    def _grow_call(self, identity: str, text: str) -> bytes: ...

    @abstractmethod
    def _end_call(self, identity: str, name: str, arguments: str) -> bytes: ...

    @abstractmethod
    def _result(self, result: ToolResult) -> bytes: ...

    @abstractmethod
    def _complete(self, event: StreamEvent | None) -> bytes: ...

    @abstractmethod
    def _error(self, message: str, code: str | None) -> bytes: ...

    @abstractmethod
    def _abort(self) -> bytes: ...

    def _last(self) -> bytes:
        return b""


def _sum(one: Usage | None, other: Usage | None) -> Usage:
    counts = [(each or Usage()).model_dump() for each in (one, other)]
    return Usage(**{name: count + counts[1][name] for name, count in counts[0].items()})


def problem_of_event(event: StreamEvent) -> dict[str, Any]:
    """Return an ERROR event as the JSON object of a problem."""
    status = event.status if event.status is not None and event.status != CUT else None
    status = status or STATUS[event.error_type or "server"]
    return {"status": status, "detail": event.error, "code": event.code or event.error_type}


def frame(chunk: Mapping[str, Any]) -> bytes:
    """Return an unnamed event with a JSON object."""
    return b"data: %b\n\n" % dumps(chunk)


def deltas_of(message: Message) -> Iterator[StreamEvent]:
    """Yield a whole message as the events of a streamed one."""
    if message.thinking:
        delta = ThinkingDelta(content=message.thinking)
        yield StreamEvent(type=EventType.THINKING_DELTA, thinking_delta=delta)
    if message.content:
        text = TextDelta(content=message.content)
        yield StreamEvent(type=EventType.TEXT_DELTA, text_delta=text)
    for index, call in enumerate(message.tool_calls):
        start = ToolCallDelta(index=index, id=call.id, name=call.name)
        yield StreamEvent(type=EventType.TOOL_CALL_START, tool_call=start)
        part = ToolCallDelta(index=index, arguments=call.arguments)
        yield StreamEvent(type=EventType.TOOL_CALL_DELTA, tool_call=part)
        yield StreamEvent(type=EventType.TOOL_CALL_END, tool_call=ToolCallDelta(index=index))
    for result in message.tool_results:
        yield StreamEvent(type=EventType.TOOL_RESULT, tool_result=result)
