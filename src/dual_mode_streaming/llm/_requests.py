"""What a language model is asked: one request that every provider and every face understands."""

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    model_validator,
)
from pydantic_core import PydanticSerializationError

from dual_mode_streaming.llm._events import ToolCall

__all__ = ["ChatMessage", "ChatRequest", "NamedTool", "Tool", "ToolChoice"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ChatMessage(_Strict):
    """One message of a conversation. A `tool` message answers the call `tool_call_id`."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    @model_validator(mode="after")
    def _fits_its_role(self) -> Self:
        if self.tool_calls and self.role != "assistant":
            raise ValueError("only an assistant's message has tool_calls")
        if (self.tool_call_id is not None) != (self.role == "tool"):
            raise ValueError("a tool's message, and no other, has a tool_call_id")
        return self


class Tool(_Strict):
    """A function that the model may call; `parameters` is the JSON Schema of its arguments."""

    name: str = Field(min_length=1, max_length=128)
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object"})


class NamedTool(_Strict):
    """The choice of one tool."""

    name: str


ToolChoice = Literal["auto", "none", "required"] | NamedTool
"""Whether tools are called: as the model likes, never, one at least, or just this one."""


def _as_messages(value: Any) -> Any:
    return ({"role": "user", "content": value},) if isinstance(value, str) else value


class ChatRequest(_Strict):
    """A question to a model. `messages` may be given as one string, the user's.

    `thinking` asks for the model's thoughts, `seed` for the same answer again where a provider can;
    `max_tokens` and what follows are left to the provider where they are None.
    """

    messages: Annotated[
        tuple[ChatMessage, ...],
        BeforeValidator(_as_messages, json_schema_input_type=tuple[ChatMessage, ...] | str),
        Field(json_schema_extra={"minItems": 1}),
    ]
    model: Annotated[str, Field(max_length=200, pattern=r"^[!-~]*$")] = ""
    max_tokens: int | None = Field(None, ge=1, strict=True)
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: StrictBool = True
    temperature: float | None = Field(None, ge=0, le=2, strict=True)
    top_p: float | None = Field(None, ge=0, le=1, strict=True)
    seed: StrictInt | None = None
    thinking: StrictBool = False

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if not self.messages:
            raise ValueError("messages: at least one is needed")
        if any(not stop for stop in self.stop):
            raise ValueError("stop: a stop sequence must not be empty")
        if self.tool_choice not in ("auto", "none") and not self.tools:
            raise ValueError("tool_choice: there are no tools to choose from")
        if isinstance(self.tool_choice, NamedTool) and self.tool_choice.name not in {
            tool.name for tool in self.tools
        }:
            raise ValueError(f"tool_choice: there is no tool {self.tool_choice.name!r}")
        called: set[str] = set()
        for number, message in enumerate(self.messages):
            if message.role == "tool" and message.tool_call_id not in called:
                raise ValueError(
                    f"messages[{number}]: no call {message.tool_call_id!r} before this tool message"
                )
            called.update(call.id for call in message.tool_calls)
        try:
            self.model_dump_json()
        except (
            PydanticSerializationError
        ) as error:  # of a lone surrogate, which UTF-8 cannot encode
            raise ValueError(
                "messages: there is something in the request that is no text"
            ) from error
        return self

    @property
    def system(self) -> str:
        """The system messages, as one text."""
        return "\n\n".join(m.content for m in self.messages if m.role == "system")

    @property
    def turns(self) -> tuple[ChatMessage, ...]:
        """The messages but the system's."""
        return tuple(message for message in self.messages if message.role != "system")

    def digest(self) -> bytes:
        """What was asked, in 32 bytes: the conversation and the seed, and not how to answer."""
        asked = [self.model_dump(mode="json", include={"messages"}), self.seed]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()
