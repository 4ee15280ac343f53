"""The parts that OpenAI's two APIs share: tools, reasoning effort and errors."""

from collections.abc import Mapping
from typing import Any

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm.wire._parsing import invalid


class OpenAIFormat:
    """The base of OpenAI's wire formats."""

    id_header = "x-request-id"

    def error(self, problem: Problem, request_id: str) -> dict[str, Any]:
        """Return the body of a refusal."""
        return openai_error(problem.status_code, str(problem.detail), problem.param, problem.code)


def openai_error(
    status: int, message: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """Return an error in OpenAI's format; its type and code follow from the status."""
    kind = "requests" if status == 429 else "server_error" if status >= 500 else None
    codes = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
    error = {
        "message": message,
        "type": kind or "invalid_request_error",
        "param": param,
        "code": code or codes.get(status),
    }
    return {"error": error}


def stream_options_of(body: Mapping[str, Any], stream: bool) -> dict[str, Any]:
    """Return `stream_options`, an object that only a streamed request may have."""
    options = body.get("stream_options") or {}
    if options and not stream:
        raise invalid("stream_options", "only with stream")
    if not isinstance(options, dict):
        raise invalid("stream_options", "an object is needed")
    return options


def has_thinking(effort: object) -> bool:
    """Return whether a reasoning effort asks the model to think."""
    return effort not in (None, "none", "minimal")


def function_of(tool: Any, function: Any, where: str) -> dict[str, Any]:
    """Return the fields of a `Tool` from a tool and the object with its function."""
    if not isinstance(function, dict) or tool.get("type") != "function":
        raise invalid(where, "only functions are supported")
    fields = ("name", "description", "parameters")
    return {name: function[name] for name in fields if function.get(name) is not None}
