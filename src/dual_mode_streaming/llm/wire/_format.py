"""The protocol of a wire format, and the parts that all of them share."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm._events import StreamEvent
from dual_mode_streaming.llm._forwarding import Dialect
from dual_mode_streaming.llm._requests import ChatRequest
from dual_mode_streaming.rendering import Frames
from dual_mode_streaming.sse import dumps


@dataclass(frozen=True)
class WireRequest:
    """A request in a wire format, parsed.

    Attributes:
        chat: the request to the model.
        stream: whether the answer is streamed.
        model: the model as the client named it; the answer repeats it.
        usage_chunk: whether the stream ends with a chunk of the usage (OpenAI's `include_usage`).
        echo: other fields of the request that the answer repeats.
        calls: the fields of calls of tools with these names, where they are no plain functions.
    """

    chat: ChatRequest
    stream: bool
    model: str
    usage_chunk: bool = False
    echo: Mapping[str, Any] = field(default_factory=dict)
    calls: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class ModelFormat(Protocol):
    """A wire format: how requests are parsed, and how answers and refusals are rendered.

    Attributes:
        dialect: the API.
        id_header: the response header with the request id.
    """

    dialect: Dialect
    id_header: str

    def parse(self, body: dict[str, Any]) -> WireRequest:
        """Parse a body; unknown fields are ignored. Raises Problem or ValidationError."""
        ...

    def answer_frames(self, request: WireRequest, request_id: str, input_tokens: int) -> Frames:
        """Return the frames of one streamed answer."""
        ...

    def batch(self, request: WireRequest, request_id: str, event: StreamEvent) -> dict[str, Any]:
        """Return the body of an answer that is not streamed; `event` has the whole message."""
        ...

    def error(self, problem: Problem, request_id: str = "") -> dict[str, Any]:
        """Return the body of a refusal."""
        ...


def new_request_id() -> str:
    """Return an id that cannot be guessed, in the form that OpenAI and Anthropic use."""
    return "req_" + secrets.token_hex(12)


def event_frame(name: str, **fields: Any) -> bytes:
    """Return a Server-Sent Event with this name, which is also the `type` of its JSON object."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), dumps({"type": name, **fields}))


def message_of(problem: Mapping[str, Any]) -> str:
    """Return the message of a problem's JSON object (RFC 9457)."""
    return str(problem.get("detail") or problem.get("title") or "error")
