"""The parts that OpenAI's two APIs share: tools, reasoning effort, JSON output and errors."""

import re
from collections.abc import Mapping
from typing import Any, Final

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm.wire._model_wire import ModelWire
from dual_mode_streaming.llm.wire._parsing import invalid

_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.-]+)*;base64,", re.IGNORECASE)
JSON_OBJECT: Final[dict[str, Any]] = {"json_schema": None}
"""The `OutputFormat` of any JSON object."""


class OpenAIFormat(ModelWire):
    """The base of OpenAI's wire formats."""

    id_header = "x-request-id"

    def error(self, problem: Problem, request_id: str = "") -> dict[str, Any]:
        """Return the body of a refusal."""
        return openai_error(problem.status_code, str(problem.detail), problem.param, problem.code)


def openai_error(
    status: int, message: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """Return an error in OpenAI's format; its type and code follow from the status."""
    kind = "requests" if status == 429 else "server_error" if status >= 500 else None
    codes = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
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


def has_thinking(effort: object) -> bool | None:
    """Return whether a reasoning effort asks the model to think; None if there is none."""
    return None if effort is None else effort not in ("none", "minimal")


def function_of(tool: Any, function: Any, where: str) -> dict[str, Any]:
    """Return the fields of a `Tool` from a tool and the object with its function."""
    if not isinstance(function, dict) or tool.get("type") != "function":
        raise invalid(where, "only functions are supported")
    fields = ("name", "description", "parameters", "strict")
    return {name: function[name] for name in fields if function.get(name) is not None}


def tool_choice_of(given: Any) -> tuple[Any, set[str] | None]:
    """Return the choice of a tool, and the names of the tools if only some are allowed."""
    if not isinstance(given, dict):
        return given, None
    function = given.get("function")
    named = function if isinstance(function, dict) else given
    match given.get("type"):
        case "allowed_tools":
            allowed = given.get("allowed_tools")
            allowed = allowed if isinstance(allowed, dict) else given
            tools = allowed.get("tools")
            if not isinstance(tools, list):
                raise invalid("tool_choice", "a list of tools is needed")
            names = set()
            for tool in tools:
                if not isinstance(tool, dict):
                    raise invalid("tool_choice", "each tool is an object")
                inner = tool.get("function")
                names.add(str((inner if isinstance(inner, dict) else tool).get("name")))
            return allowed.get("mode") or "auto", names
        case "function" | "custom" | None:
            return {"name": named.get("name")}, None
    raise invalid("tool_choice", f"{given.get('type')!r} is not supported", "unsupported_value")


def output_of(given: Any, where: str) -> dict[str, Any]:
    """Return the fields of an `OutputFormat` from an object with a JSON Schema."""
    if not isinstance(given, dict) or not isinstance(given.get("schema"), dict):
        raise invalid(f"{where}.schema", "a JSON Schema is needed")
    name, strict = given.get("name"), given.get("strict")
    return {"json_schema": given["schema"], "name": name, "strict": strict}


def data_or_url(given: Any, where: str, *, is_data: bool = False) -> dict[str, Any]:
    """Return what a URL names: the data in it, or itself.

    Args:
        given: the URL.
        where: its path, for the problem.
        is_data: whether it is data even without being a URL.
    """
    if not isinstance(given, str) or not given:
        raise invalid(where, "a URL is needed")
    if data := _DATA_URL.match(given):
        return {"media_type": data[1], "data": given[data.end() :]}
    return {"data": given} if is_data else {"url": given}
