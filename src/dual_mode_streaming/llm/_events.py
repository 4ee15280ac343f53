"""What a language model's answer is made of: typed events, and the fold that makes one of many."""

import enum
from collections.abc import AsyncIterable, Iterable
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dual_mode_streaming.streams import gather_stream

__all__ = [
    "ErrorType",
    "EventType",
    "FinishReason",
    "Message",
    "StreamEvent",
    "TextDelta",
    "ThinkingDelta",
    "ToolCall",
    "ToolCallDelta",
    "Usage",
    "collect",
    "fold",
]


class EventType(enum.StrEnum):
    """What an event says."""

    TEXT_DELTA = "text_delta"
    THINKING_DELTA = "thinking_delta"
    TOOL_CALL_START = "tool_call_start"
    TOOL_CALL_DELTA = "tool_call_delta"
    TOOL_CALL_END = "tool_call_end"
    MESSAGE_COMPLETE = "message_complete"
    ERROR = "error"


FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "pause"]
"""Why a model stopped: it was done (or met a stop sequence), had no tokens left, calls tools, was
not allowed or willing to go on, or paused a long turn."""

ErrorType = Literal[
    "invalid_request",
    "authentication",
    "permission",
    "not_found",
    "too_large",
    "rate_limit",
    "overloaded",
    "server",
    "timeout",
    "connection",
    "stream_truncated",
]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TextDelta(_Frozen):
    """A piece of the text."""

    content: str


class ThinkingDelta(_Frozen):
    """A piece of what the model thinks before it answers; the signature closes a block of it."""

    content: str = ""
    signature: str | None = None


class ToolCallDelta(_Frozen):
    """A part of the tool call number `index`: its id and name at the start, then arguments (a piece
    of JSON text), and nothing more at the end."""

    index: int = Field(ge=0)
    id: str | None = None
    name: str | None = None
    arguments: str | None = None


class ToolCall(_Frozen):
    """A whole tool call; `arguments` is JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


class Usage(_Frozen):
    """Tokens counted: what was read, and what was written, thinking among it."""

    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)

    @property
    def total_tokens(self) -> int:
        """Both together."""
        return self.input_tokens + self.output_tokens


class Message(_Frozen):
    """A whole answer. The text is empty, not null, where there is none."""

    content: str = ""
    thinking: str = ""
    signature: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()


_REQUIRED: Final[dict[EventType, set[str]]] = {
    EventType.TEXT_DELTA: {"text_delta"},
    EventType.THINKING_DELTA: {"thinking_delta"},
    EventType.TOOL_CALL_START: {"tool_call"},
    EventType.TOOL_CALL_DELTA: {"tool_call"},
    EventType.TOOL_CALL_END: {"tool_call"},
    EventType.MESSAGE_COMPLETE: {"finish_reason", "usage"},
    EventType.ERROR: {"error"},
}
_OPTIONAL: Final[dict[EventType, set[str]]] = {
    EventType.MESSAGE_COMPLETE: {"message", "stop_sequence"},
    EventType.ERROR: {"error_type", "status", "retry_after", "partial", "attempt", "usage"},
}
_OF_TOOL_CALL: Final[dict[EventType, tuple[set[str], set[str]]]] = {
    EventType.TOOL_CALL_START: ({"id", "name"}, {"arguments"}),
    EventType.TOOL_CALL_DELTA: ({"arguments"}, {"id", "name"}),
    EventType.TOOL_CALL_END: (set(), {"id", "name", "arguments"}),
}


class StreamEvent(_Frozen):
    """One event of an answer. Which fields there are is decided by `type`, and checked.

    An answer is deltas and then MESSAGE_COMPLETE, or ERROR at any place; nothing follows these two.
    An answer that is not streamed is one MESSAGE_COMPLETE that carries the `message`, or an ERROR.

    Of an error: `status` is the provider's HTTP status if there was one, `retry_after` the seconds
    it asked to wait, `partial` the text that had been said before, `attempt` the number of the
    attempt that failed, from 1, and `usage` what the tokens so far are known to have been.
    """

    type: EventType
    text_delta: TextDelta | None = None
    thinking_delta: ThinkingDelta | None = None
    tool_call: ToolCallDelta | None = None
    finish_reason: FinishReason | None = None
    stop_sequence: str | None = None
    usage: Usage | None = None
    message: Message | None = None
    error: str | None = None
    error_type: ErrorType | None = None
    status: int | None = None
    retry_after: float | None = None
    partial: str | None = None
    attempt: int | None = None

    @model_validator(mode="after")
    def _fits_its_type(self) -> Self:
        given = {name for name in self.model_fields_set if getattr(self, name) is not None}
        given.discard("type")
        required = _REQUIRED[self.type]
        if missing := required - given:
            raise ValueError(f"an event of type {self.type} needs {', '.join(sorted(missing))}")
        if foreign := given - required - _OPTIONAL.get(self.type, set()):
            raise ValueError(f"an event of type {self.type} has no {', '.join(sorted(foreign))}")
        if self.tool_call is not None:
            needs, has_none = _OF_TOOL_CALL[self.type]
            parts = {name for name in ("id", "name", "arguments") if getattr(self.tool_call, name)}
            if not needs - {"arguments"} <= parts or parts & has_none:
                raise ValueError(
                    f"the tool_call of a {self.type} has an index"
                    f"{''.join(f', {name}' for name in sorted(needs))}, and nothing else"
                )
        return self

    def __repr_args__(self) -> Any:
        return [(name, value) for name, value in super().__repr_args__() if value is not None]

    @property
    def is_final(self) -> bool:
        """Nothing follows it."""
        return self.type in (EventType.MESSAGE_COMPLETE, EventType.ERROR)


def fold(events: Iterable[StreamEvent]) -> StreamEvent:
    """One event of many: what the same answer would have been, had it not been streamed.

    Out: a MESSAGE_COMPLETE with the whole message, or the ERROR. ValueError if the events do not
    end in one of them: then the answer is not whole.
    """
    text: list[str] = []
    thinking: list[str] = []
    signature: str | None = None
    calls: dict[int, dict[str, str]] = {}
    for event in events:
        match event.type:
            case EventType.TEXT_DELTA if event.text_delta is not None:
                text.append(event.text_delta.content)
            case EventType.THINKING_DELTA if event.thinking_delta is not None:
                thinking.append(event.thinking_delta.content)
                signature = event.thinking_delta.signature or signature
            case EventType.TOOL_CALL_START if (call := event.tool_call) is not None:
                calls[call.index] = {"id": call.id or "", "name": call.name or "", "arguments": ""}
            case EventType.TOOL_CALL_DELTA if (call := event.tool_call) is not None:
                calls[call.index]["arguments"] += call.arguments or ""
            case EventType.MESSAGE_COMPLETE if event.message is None:
                message = Message(
                    content="".join(text),
                    thinking="".join(thinking),
                    signature=signature,
                    tool_calls=tuple(ToolCall(**calls[index]) for index in sorted(calls)),
                )
                return event.model_copy(update={"message": message})
            case EventType.MESSAGE_COMPLETE | EventType.ERROR:
                return event
    raise ValueError("the answer is not whole: neither MESSAGE_COMPLETE nor ERROR came")


async def collect(events: AsyncIterable[StreamEvent]) -> StreamEvent:
    """`fold` of a stream; closes it."""
    return fold(await gather_stream(events))
