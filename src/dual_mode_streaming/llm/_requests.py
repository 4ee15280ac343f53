"""The request to a language model, the same for every provider and wire format."""

import hashlib
import json
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    StrictBool,
    StrictInt,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticSerializationError

from dual_mode_streaming.llm._events import FrozenModel, ToolCall
from dual_mode_streaming.llm._forwarding import Origin
from dual_mode_streaming.llm._parts import Part, TextPart, ThinkingPart

FROM_JSON: Final[dict[str, Any]] = {}
"""The context of the validation of values that our own parser of JSON gave: they can be encoded."""

_MANY: Final = 1000
_LARGE: Final = 1_000_000
"""The messages, and the characters of their contents, beyond which a request is large."""


class ChatMessage(FrozenModel):
    """One message of a conversation. A `tool` message has the result of the call `tool_call_id`.

    Attributes:
        role: who says it.
        content: text, or parts: text, images, files, thinking.
        tool_calls: the calls of the assistant.
        tool_call_id: the call that a tool answers.
        is_error: whether the tool failed.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str | Annotated[tuple[Part, ...], Field(fail_fast=True)] = ""
    tool_calls: Annotated[tuple[ToolCall, ...], Field(fail_fast=True)] = ()
    tool_call_id: str | None = None
    is_error: bool = False

    @model_validator(mode="after")
    def _has_fields_of_its_role(self) -> Self:
        if self.tool_calls and self.role != "assistant":
            raise ValueError("tool_calls: only a message of the assistant may have them")
        if (self.tool_call_id is not None) != (self.role == "tool"):
            raise ValueError("tool_call_id: a message of a tool needs it, and no other may have it")
        if self.is_error and self.role != "tool":
            raise ValueError("is_error: only a message of a tool may have it")
        return self

    @property
    def text(self) -> str:
        """The text of all parts, joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if isinstance(part, TextPart))

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts; text is one part, and no text is none."""
        if isinstance(self.content, str):
            return (TextPart(text=self.content),) if self.content else ()
        return self.content


class Tool(FrozenModel):
    """A function the model may call; `parameters` is the JSON Schema of its arguments."""

    name: str = Field(min_length=1, max_length=128)
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object"})
    strict: bool | None = Field(None, strict=True)


class NamedTool(FrozenModel):
    """The choice of a tool by its name."""

    name: str


class OutputFormat(FrozenModel):
    """JSON as the answer: by a JSON Schema, or any object without one."""

    json_schema: dict[str, Any] | None = None
    name: str | None = None
    strict: bool | None = Field(None, strict=True)


ToolChoice = Literal["auto", "none", "required"] | NamedTool
"""Whether the model calls tools: as it decides, never, at least one, or exactly this one."""


def _as_messages(value: Any) -> Any:
    return ({"role": "user", "content": value},) if isinstance(value, str) else value


class ChatRequest(FrozenModel):
    """A request to a model. What is None, or empty, is not sent: it is left to the provider.

    Attributes:
        messages: the conversation; a string is one message of the user.
        model: the name of the model.
        max_tokens: the most tokens of the answer.
        stop: the sequences at which the answer ends.
        tools: the functions the model may call.
        tool_choice: whether it calls them.
        parallel_tool_calls: whether it may call several at once.
        temperature: the sampling temperature, from 0 to 2.
        top_p: the share of probability to sample from, from 0 to 1.
        top_k: the number of tokens to sample from.
        presence_penalty: how much less likely tokens are that were used, from -2 to 2.
        frequency_penalty: the same, for each time they were used.
        seed: asks for a reproducible answer, where the provider supports it.
        thinking: whether to ask for the model's reasoning; "auto" leaves it to the model.
        thinking_budget: the most tokens of the reasoning.
        effort: how hard the model tries: low, medium, high and others, as the provider names them.
        verbosity: how long the answer is: low, medium or high.
        output: JSON as the answer.
    """

    messages: Annotated[
        tuple[ChatMessage, ...],
        Field(fail_fast=True),
        BeforeValidator(_as_messages, json_schema_input_type=tuple[ChatMessage, ...] | str),
        Field(json_schema_extra={"minItems": 1}),
    ]
    model: Annotated[str, Field(max_length=200, pattern=r"^[!-~]*$")] = ""
    max_tokens: int | None = Field(None, ge=1, strict=True)
    stop: Annotated[tuple[str, ...], Field(fail_fast=True)] = ()
    tools: Annotated[tuple[Tool, ...], Field(fail_fast=True)] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: StrictBool | None = None
    temperature: float | None = Field(None, ge=0, le=2, strict=True)
    top_p: float | None = Field(None, ge=0, le=1, strict=True)
    top_k: int | None = Field(None, ge=0, strict=True)
    presence_penalty: float | None = Field(None, ge=-2, le=2, strict=True)
    frequency_penalty: float | None = Field(None, ge=-2, le=2, strict=True)
    seed: StrictInt | None = None
    thinking: StrictBool | Literal["auto"] | None = None
    thinking_budget: int | None = Field(None, ge=1, strict=True)
    effort: Annotated[str, Field(max_length=20)] | None = None
    verbosity: Annotated[str, Field(max_length=20)] | None = None
    output: OutputFormat | None = None
    _origin: Origin | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _is_consistent(self, info: ValidationInfo) -> Self:
        if not self.messages:
            raise ValueError("messages: at least one message is required")
        if any(not stop for stop in self.stop):
            raise ValueError("stop: a stop sequence must not be empty")
        if self.tool_choice not in (None, "auto", "none") and not self.tools:
            raise ValueError("tool_choice: there are no tools to choose from")
        if isinstance(self.tool_choice, NamedTool) and self.tool_choice.name not in {
            tool.name for tool in self.tools
        }:
            raise ValueError(f"tool_choice: no tool is named {self.tool_choice.name!r}")
        called: set[str] = set()
        for number, message in enumerate(self.messages):
            if message.role == "tool" and message.tool_call_id not in called:
                raise ValueError(
                    f"messages[{number}]: no call {message.tool_call_id!r} comes before this result"
                )
            called.update(call.id for call in message.tool_calls)
        if info.context is FROM_JSON:
            return self
        try:
            self.model_dump_json()
        except PydanticSerializationError as error:
            raise ValueError("messages: lone surrogates cannot be encoded as UTF-8") from error
        return self

    @property
    def origin(self) -> Origin | None:
        """The request as it came in a wire format; None for one that was made here."""
        return self._origin

    def with_origin(self, origin: Origin | None) -> "ChatRequest":
        """Return the same request with its origin."""
        request = self.model_copy()
        request._origin = origin
        return request

    @property
    def system(self) -> str:
        """The system messages, joined by blank lines."""
        return "\n\n".join(m.text for m in self.messages if m.role == "system")

    @property
    def dialogue(self) -> tuple[ChatMessage, ...]:
        """The messages of user, assistant and tools."""
        return tuple(message for message in self.messages if message.role != "system")

    @property
    def is_large(self) -> bool:
        """Whether it takes long to encode it."""
        if self._origin is not None:
            return self._origin.is_large
        if len(self.messages) > _MANY:
            return True
        texts = (
            getattr(part, name, None) or ""
            for message in self.messages
            for part in message.parts
            for name in ("text", "data")
        )
        return sum(map(len, texts)) > _LARGE

    def digest(self) -> bytes:
        """Return the SHA-256 digest of the messages and the seed, the other options ignored.

        Of a large request only the newest messages count.
        """
        newest: list[str] = []
        left = _LARGE
        for message in reversed(self.messages):
            newest.append(json.dumps(_cut(digested(message), left), sort_keys=True))
            left -= len(newest[-1])
            if left <= 0:
                break
        messages = ", ".join(reversed(newest))
        content = f'[{{"messages": [{messages}]}}, {json.dumps(self.seed)}]'
        return hashlib.sha256(content.encode()).digest()


def _cut(value: Any, most: int) -> Any:
    """Return a JSON value with strings of at most `most` characters."""
    if isinstance(value, str):
        return value[:most]
    if isinstance(value, dict):
        return {name: _cut(item, most) for name, item in value.items()}
    return [_cut(item, most) for item in value] if isinstance(value, list) else value


def digested(message: ChatMessage) -> dict[str, Any]:
    """Return what an answer depends on: texts are one, and earlier thinking does not count."""
    dumped = message.model_dump(mode="json", exclude={"content", "is_error"})
    others = [p for p in message.parts if not isinstance(p, TextPart | ThinkingPart)]
    shown = [part.model_dump(mode="json") for part in others]
    return {**dumped, "content": [message.text, *shown] if shown else message.text}
