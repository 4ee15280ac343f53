"""What a simulated model says, and how it fails: a TOML file of replies, the first match counts."""

import json
import re
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dual_mode_streaming.llm._events import ErrorType, FinishReason, Usage
from dual_mode_streaming.llm._requests import ChatRequest
from dual_mode_streaming.llm.simulator._pace import Pace

__all__ = ["Failure", "Reply", "Script", "ScriptedCall"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ScriptedCall(_Strict):
    """A tool call; the arguments are any JSON value, or JSON text as it is to be sent."""

    name: str
    arguments: Any = Field(default_factory=dict)

    def json_arguments(self) -> str:
        """The arguments as JSON text."""
        given = self.arguments
        return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


class Failure(_Strict):
    """A failure on purpose.

    With `status` the request is refused by it, with `retry_after` seconds to wait. Else it happens
    after `after_tokens` tokens (at the end, if there are fewer): an error of `error_type`, or with
    `stall` a silence of so many seconds, or with `cut` the end of the connection, which the
    service's faces pass on: the transfer breaks off. `times` is how often it fails before it works;
    0 is always.
    """

    status: int | None = Field(None, ge=400, le=599)
    retry_after: float | None = Field(None, ge=0)
    after_tokens: int = Field(0, ge=0)
    error_type: ErrorType = "overloaded"
    stall: float | None = Field(None, ge=0)
    cut: bool = False
    times: int = Field(0, ge=0)
    message: str = "a failure on purpose"

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum([self.status is not None, self.stall is not None, self.cut]) > 1:
            raise ValueError("a failure is a status, a stall or a cut: one of them")
        if self.retry_after is not None and self.status is None:
            raise ValueError("retry_after goes with a status")
        return self


class Reply(_Strict):
    """What is said to a user's message that `match`, a regular expression, finds something in."""

    match: str = ""
    model: str | None = None
    text: str = ""
    thinking: str = ""
    tool_calls: tuple[ScriptedCall, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    pace: Pace | None = None
    failure: Failure | None = None

    @field_validator("match")
    @classmethod
    def _is_an_expression(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from error
        return value

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The compiled `match`."""
        return re.compile(self.match)


class Script(_Strict):
    """The replies, in the order in which they are tried.

    [[reply]]
    match = "weather"
    text = "Sunny."

    [[reply]]
    match = "flaky"
    text = "At last."
    failure = { status = 429, retry_after = 1, times = 2 }
    """

    reply: tuple[Reply, ...] = ()

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The script in a TOML file. ValueError, one line, if it is none."""
        try:
            return cls.model_validate(tomllib.loads(Path(path).read_text("utf-8")))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"{path}: {where}: {first['msg']}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: {error}") from error

    @property
    def models(self) -> list[str]:
        """The names of models that replies are for."""
        return sorted({reply.model for reply in self.reply if reply.model is not None})

    def reply_to(self, request: ChatRequest) -> Reply | None:
        """The first reply that fits the last message of a user or a tool."""
        roles = ("user", "tool")
        last = next((m.content for m in reversed(request.messages) if m.role in roles), "")
        for reply in self.reply:
            if reply.model in (None, request.model) and reply.pattern.search(last):
                return reply
        return None

    @cached_property
    def _failed(self) -> dict[int, int]:
        return {}

    def fails(self, reply: Reply) -> bool:
        """Whether it is to fail this time; counts how often it did."""
        assert reply.failure is not None
        number = self._failed[id(reply)] = self._failed.get(id(reply), 0) + 1
        return reply.failure.times == 0 or number <= reply.failure.times
