"""The typed events of a language model's answer, and the fold that makes one event of them."""

import enum
from collections.abc import AsyncIterable, Iterable
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dual_mode_streaming.streams import gather_stream


class EventType(enum.StrEnum):
    """The kind of an event."""

    TEXT_DELTA = "text_delta"
    THINKING_DELTA = "thinking_delta"
    TOOL_CALL_START = "tool_call_start"
    TOOL_CALL_DELTA = "tool_call_delta"
    TOOL_CALL_END = "tool_call_end"
    TOOL_RESULT = "tool_result"
    MESSAGE_COMPLETE = "message_complete"
    ERROR = "error"


FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "pause"]
"""Why a model stopped: it finished or met a stop sequence; it reached max_tokens; it calls tools;
its content was filtered or refused; or it paused a long answer."""

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
"""The kind of a failure, the same for every provider."""


class FrozenModel(BaseModel):
    """A model that cannot be changed and has no other fields than its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TextDelta(FrozenModel):
    """A piece of the answer's text; `is_refusal` if the API says that the model refuses by it."""

    content: str
    is_refusal: Literal[True] | None = None


class ThinkingDelta(FrozenModel):
    """A piece of the model's reasoning; `signature` comes at the end of a block of it.

    A block that the API encrypted has no content, and comes in one piece, as `redacted`.
    """

    content: str = ""
    signature: str | None = None
    redacted: str | None = None


class ToolCallDelta(FrozenModel):
    """A part of the tool call with this index.

    The start has `id` and `name`, each delta a piece of `arguments` (JSON text), the end only the
    index.
    """

    index: int = Field(ge=0)
    id: str | None = None
    name: str | None = None
    arguments: str | None = None


class ToolCall(FrozenModel):
    """A complete tool call; `arguments` is JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


class ToolResult(FrozenModel):
    """What a tool returned, where the source of the answer runs tools; `id` is the call's."""

    id: str
    content: str
    is_error: bool = False


class Usage(FrozenModel):
    """The number of tokens of the request and of the answer.

    Attributes:
        input_tokens: of the request, all of it.
        output_tokens: of the answer, its thinking included.
        cache_read_tokens: how many of `input_tokens` the provider read from its cache.
        cache_write_tokens: how many of `input_tokens` it wrote to its cache.
        reasoning_tokens: how many of `output_tokens` are thinking.
    """

    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    cache_read_tokens: int = Field(default=0, ge=0)
    cache_write_tokens: int = Field(default=0, ge=0)
    reasoning_tokens: int = Field(default=0, ge=0)

    @property
    def total_tokens(self) -> int:
        """The sum of both."""
        return self.input_tokens + self.output_tokens


class Message(FrozenModel):
    """A complete answer. `content` is empty, not null, if there is no text.

    `refusal` is what of `content` is a refusal. `thinking_blocks` are the blocks of the thinking,
    if any is signed or redacted: an API that signs its thinking wants them back as they were.
    """

    content: str = ""
    refusal: str = ""
    thinking: str = ""
    signature: str | None = None
    thinking_blocks: tuple[ThinkingDelta, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()

    @property
    def thoughts(self) -> tuple[ThinkingDelta, ...]:
        """The blocks of the thinking; all of it is one, if none is signed or redacted."""
        if self.thinking and not self.thinking_blocks:
            return (ThinkingDelta(content=self.thinking, signature=self.signature),)
        return self.thinking_blocks


_REQUIRED: Final[dict[EventType, set[str]]] = {
    EventType.TEXT_DELTA: {"text_delta"},
    EventType.THINKING_DELTA: {"thinking_delta"},
    EventType.TOOL_CALL_START: {"tool_call"},
    EventType.TOOL_CALL_DELTA: {"tool_call"},
    EventType.TOOL_CALL_END: {"tool_call"},
    EventType.TOOL_RESULT: {"tool_result"},
    EventType.MESSAGE_COMPLETE: {"finish_reason", "usage"},
    EventType.ERROR: {"error"},
}
_OPTIONAL: Final[dict[EventType, set[str]]] = {
    EventType.MESSAGE_COMPLETE: {"message", "stop_sequence"},
    EventType.ERROR: {
        *("error_type", "status", "retry_after", "code", "param", "partial", "attempt", "usage")
    },
}
_OF_TOOL_CALL: Final[dict[EventType, tuple[set[str], set[str]]]] = {
    EventType.TOOL_CALL_START: ({"id", "name"}, {"arguments"}),
    EventType.TOOL_CALL_DELTA: ({"arguments"}, {"id", "name"}),
    EventType.TOOL_CALL_END: (set(), {"id", "name", "arguments"}),
}


class StreamEvent(FrozenModel):
    """One event of an answer. Its type decides which fields it has; this is validated.

    A streamed answer is deltas and then MESSAGE_COMPLETE, or ERROR at any point; nothing follows
    these two. An answer that is not streamed is one MESSAGE_COMPLETE with its `message`, or ERROR.

    Attributes:
        type: the kind of the event.
        text_delta: of TEXT_DELTA.
        thinking_delta: of THINKING_DELTA.
        tool_call: of TOOL_CALL_START, TOOL_CALL_DELTA and TOOL_CALL_END.
        tool_result: of TOOL_RESULT, which only answers of agents have.
        finish_reason: of MESSAGE_COMPLETE: why the model stopped.
        stop_sequence: of MESSAGE_COMPLETE: the stop sequence that ended the answer, if one did.
        usage: of MESSAGE_COMPLETE: the tokens; of ERROR: the tokens so far, as far as known.
        message: of MESSAGE_COMPLETE, if the answer was not streamed.
        error: of ERROR: the message.
        error_type: of ERROR: the kind of failure.
        status: of ERROR: the provider's HTTP status, if there was one.
        retry_after: of ERROR: the pause in seconds that the provider asked for.
        code: of ERROR: the provider's own name of the error.
        param: of ERROR: the field that is wrong.
        partial: of ERROR: the text received before it.
        attempt: of ERROR: the number of the attempt that failed, from 1.
    """

    type: EventType
    text_delta: TextDelta | None = None
    thinking_delta: ThinkingDelta | None = None
    tool_call: ToolCallDelta | None = None
    tool_result: ToolResult | None = None
    finish_reason: FinishReason | None = None
    stop_sequence: str | None = None
    usage: Usage | None = None
    message: Message | None = None
    error: str | None = None
    error_type: ErrorType | None = None
    status: int | None = None
    retry_after: float | None = None
    code: str | None = None
    param: str | None = None
    partial: str | None = None
    attempt: int | None = None

    @model_validator(mode="after")
    def _has_fields_of_its_type(self) -> Self:
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
        """Whether this is the last event: MESSAGE_COMPLETE or ERROR."""
        return self.type in (EventType.MESSAGE_COMPLETE, EventType.ERROR)


def fold(events: Iterable[StreamEvent]) -> StreamEvent:
    """Fold a streamed answer into the one event of the same answer not streamed.

    Returns:
        a MESSAGE_COMPLETE with the complete message, or the ERROR.

    Raises:
        ValueError: the answer is incomplete: its events end without one of these two.
    """
    text: list[str] = []
    refusal: list[str] = []
    thinking: list[ThinkingDelta] = []
    calls: dict[int, dict[str, str]] = {}
    results: list[ToolResult] = []
    for event in events:
        match event.type:
            case EventType.TEXT_DELTA if event.text_delta is not None:
                text.append(event.text_delta.content)
                if event.text_delta.is_refusal:
                    refusal.append(event.text_delta.content)
            case EventType.THINKING_DELTA if event.thinking_delta is not None:
                thinking.append(event.thinking_delta)
            case EventType.TOOL_CALL_START if (call := event.tool_call) is not None:
                calls[call.index] = {"id": call.id or "", "name": call.name or "", "arguments": ""}
            case EventType.TOOL_CALL_DELTA if (call := event.tool_call) is not None:
                calls[call.index]["arguments"] += call.arguments or ""
            case EventType.TOOL_RESULT if event.tool_result is not None:
                results.append(event.tool_result)
            case EventType.MESSAGE_COMPLETE if event.message is None:
                message = Message(
                    content="".join(text),
                    refusal="".join(refusal),
                    thinking="".join(delta.content for delta in thinking),
                    signature=next((d.signature for d in reversed(thinking) if d.signature), None),
                    thinking_blocks=_blocks(thinking),
                    tool_calls=tuple(ToolCall(**calls[index]) for index in sorted(calls)),
                    tool_results=tuple(results),
                )
                return event.model_copy(update={"message": message})
            case EventType.MESSAGE_COMPLETE | EventType.ERROR:
                return event
    raise ValueError("the answer is incomplete: it ended without MESSAGE_COMPLETE or ERROR")


def _blocks(deltas: list[ThinkingDelta]) -> tuple[ThinkingDelta, ...]:
    """Return one delta for each block, which a signature ends; none if there is nothing to keep."""
    if not any(delta.signature or delta.redacted for delta in deltas):
        return ()
    blocks: list[list[ThinkingDelta]] = []
    is_open = False
    for delta in deltas:
        if not is_open or delta.redacted:
            blocks.append([])
        blocks[-1].append(delta)
        is_open = not (delta.signature or delta.redacted)
    return tuple(
        ThinkingDelta(
            content="".join(delta.content for delta in block),
            signature=block[-1].signature,
            redacted=block[-1].redacted,
        )
        for block in blocks
    )


async def collect(events: AsyncIterable[StreamEvent]) -> StreamEvent:
    """Read and close a stream of events, and `fold` it."""
    return fold(await gather_stream(events))
