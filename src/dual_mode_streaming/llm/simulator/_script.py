"""The script of a simulated model: its replies and failures, in a TOML file."""

import itertools
import json
import re
import tomllib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from dual_mode_streaming.llm._events import ErrorType, FinishReason, FrozenModel, Usage
from dual_mode_streaming.llm._requests import ChatRequest
from dual_mode_streaming.llm.simulator._pace import Pace
from dual_mode_streaming.llm.simulator._recorded import Recorded, fingerprints_of
from dual_mode_streaming.llm.simulator._shown import shown


class ScriptedCall(FrozenModel):
    """A tool call of a reply; `arguments` is a JSON value, or JSON text sent as it is."""

    name: str
    arguments: Any = Field(default_factory=dict)

    def json_arguments(self) -> str:
        """Return the arguments as JSON text."""
        given = self.arguments
        return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


class Failure(FrozenModel):
    """A failure of a reply: a refusal, an error in the stream, a stall or a cut connection.

    Attributes:
        status: refuse the request with this HTTP status.
        retry_after: the pause in seconds that a refusal asks for.
        after_tokens: fail after this many tokens, or at the end if there are fewer.
        error_type: the kind of the error, if it is none of the others.
        stall: stop for this many seconds, then continue.
        cut: break the connection off; the wire formats break off theirs, too.
        times: the number of failures before the reply succeeds; 0 to fail always.
        message: the message of the error.
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
    def _is_of_one_kind(self) -> Self:
        if sum([self.status is not None, self.stall is not None, self.cut]) > 1:
            raise ValueError("status, stall, cut: give only one of them")
        if self.retry_after is not None and self.status is None:
            raise ValueError("retry_after: it goes with a status")
        return self


class Reply(FrozenModel):
    """The answer to a message that matches.

    Attributes:
        match: a regular expression to search the last message for.
        model: the model that has this reply; None for all.
        text: the text of the answer.
        thinking: the reasoning before it.
        tool_calls: the tool calls after it.
        finish_reason: why the model stops; by default as the reply ends.
        usage: the tokens; counted if None.
        pace: the speed; the simulator's if None.
        failure: how it fails, if it does.
        recorded: an answer that was recorded, in place of the fields above.
    """

    match: str = ""
    model: str | None = None
    text: str = ""
    thinking: str = ""
    tool_calls: tuple[ScriptedCall, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    pace: Pace | None = None
    failure: Failure | None = None
    recorded: Recorded | None = None

    @field_validator("match")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from error
        return value

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The compiled `match`."""
        return re.compile(self.match)


class Script(FrozenModel):
    """The replies; the first that matches is used.

    Of recorded ones that match, those count that answered the same request, else the same
    conversation, else the same last message. Each of them is used once, in its turn, and the last
    one again and again.

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
        """Read a TOML file.

        Raises:
            ValueError: there is no such file, or it is not a script; the message is one line.
        """
        try:
            return cls.model_validate(tomllib.loads(Path(path).read_text("utf-8")))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"{path}: {where}: {first['msg']}") from error
        except OSError as error:
            raise ValueError(f"the script {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: {error}") from error

    @property
    def models(self) -> list[str]:
        """The names of the models that have replies of their own."""
        return sorted({reply.model for reply in self.reply if reply.model is not None})

    def replies_to(self, request: ChatRequest) -> Iterator[tuple[int, Reply]]:
        """Yield the replies to the last message of a user or a tool, with their places."""
        last = last_message(request)
        for number, reply in enumerate(self.reply):
            if reply.model in (None, request.model) and reply.pattern.search(last):
                yield number, reply

    def next_reply(self, request: ChatRequest) -> tuple[int, Reply] | tuple[None, None]:
        """Return the reply whose turn it is, with its place; None if there is none."""
        recorded: list[tuple[int, Reply, Recorded]] = []
        for number, reply in self.replies_to(request):
            if reply.recorded is None:
                if all(number in self._replayed for number, _, _ in recorded):
                    return number, reply
                break
            recorded.append((number, reply, reply.recorded))
        if not recorded:
            return None, None
        fingerprints = fingerprints_of(request) if len(recorded) > 1 else ()
        ranks = [(each.likeness(fingerprints), each.fits(request)) for _, _, each in recorded]
        best = [each for each, rank in zip(recorded, ranks, strict=True) if rank == max(ranks)]
        unused = [each for each in best if each[0] not in self._replayed]
        number, reply, _ = unused[0] if unused else best[-1]
        self._replayed.add(number)
        return number, reply

    @cached_property
    def _replayed(self) -> set[int]:
        return set()

    @cached_property
    def _failures(self) -> dict[int, int]:
        return {}

    def fails(self, reply: Reply) -> bool:
        """Return whether a reply fails this time, and count it."""
        assert reply.failure is not None
        number = self._failures[id(reply)] = self._failures.get(id(reply), 0) + 1
        return reply.failure.times == 0 or number <= reply.failure.times


def last_message(request: ChatRequest) -> str:
    """Return what a reply is searched for: the last message of a user or a tool."""
    roles = ("user", "tool")
    return next((shown(m) for m in reversed(request.messages) if m.role in roles), "")


def last_messages(request: ChatRequest) -> list[str]:
    """Return the results of tools that are the last messages, or else the last message."""
    results = itertools.takewhile(lambda m: m.role == "tool", reversed(request.messages))
    return [shown(message) for message in results] or [last_message(request)]
