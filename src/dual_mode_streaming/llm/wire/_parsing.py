"""Parse requests in a wire format: whatever is wrong is a `Problem` that names the field."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Any

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm._forwarding import Origin, sent_headers
from dual_mode_streaming.llm._off_loop import off_loop
from dual_mode_streaming.llm._requests import ChatRequest
from dual_mode_streaming.llm.wire._compressed import decompressed
from dual_mode_streaming.llm.wire._format import ModelFormat, WireRequest
from dual_mode_streaming.llm.wire._json_body import STEP, parse_json
from dual_mode_streaming.web._problems import CLIENT_GONE
from dual_mode_streaming.web._request_state import request_state


@dataclasses.dataclass(frozen=True, slots=True)
class BodyLimits:
    """The limits of a body.

    Attributes:
        size: the most bytes, compressed or not.
        values: the most JSON values and names.
    """

    size: int
    values: int


async def read_body(request: Request, limits: BodyLimits) -> tuple[dict[str, Any], bool]:
    """Read the body, a JSON object, and no more than the limits.

    It may be compressed: the limit of the size is of what it holds, too.

    Returns:
        The object, and whether it is large.

    Raises:
        Problem: 413 for a larger body, 415 for another coding, 400 if it is not a JSON object.
    """
    too_large = Problem(413, f"the body has more than {limits.size} bytes")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.size:
        raise too_large
    if (receive := request_state(request.scope).receive) is not None:
        receive.json_limit = None  # the limit of the app's other routes
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limits.size:
                raise too_large
    except ClientDisconnect:
        raise Problem(CLIENT_GONE.status_code, "the client has left") from None
    coding = request.headers.get("content-encoding", "")
    is_large = bool(coding) or len(body) > STEP
    return await off_loop(is_large, _value_of, body, coding, limits), is_large


def _value_of(body: bytearray, coding: str, limits: BodyLimits) -> dict[str, Any]:
    content = bytes(body)
    body.clear()  # a large one is not kept twice
    if coding:
        content = decompressed(content, coding, limits.size)
    value = parse_json(content, limits.values)
    if not isinstance(value, dict):
        raise Problem(400, "the body must be a JSON object")
    return value


def parse_request(
    wire: ModelFormat, body: dict[str, Any], headers: Mapping[str, str], is_large: bool = False
) -> WireRequest:
    """Parse a body, and keep it as the origin of the request.

    A provider that has the API of the wire format takes the body as it came, whatever we make of
    it. So what is wrong with it is only the `problem` of the origin.

    Args:
        wire: the wire format.
        body: the body.
        headers: the headers of the request.
        is_large: whether it takes long to encode the body.

    Raises:
        Problem: `stream` or `model` is wrong.
    """
    stream, model = stream_and_model(body)
    origin = Origin(wire.dialect, body, sent_headers(headers), is_large=is_large)
    try:
        request = wire.parse(body)
    except (Problem, ValidationError) as error:
        origin.problem = problem_of(error)
        try:
            chat = ChatRequest.model_validate({"messages": "?", "model": model})
        except ValidationError as wrong_model:
            raise problem_of(wrong_model) from wrong_model
        request = WireRequest(chat, stream, model)
    return dataclasses.replace(request, chat=request.chat.with_origin(origin))


def problem_of(error: Problem | ValidationError) -> Problem:
    """Return the problem that names the field."""
    if isinstance(error, Problem):
        return error
    first = error.errors()[0]
    # After the field, the location may have the names of the members of a union.
    fields = takewhile(lambda part: not re.search(r"\W|[A-Z]", part), map(str, first["loc"]))
    param = ".".join(fields) or None
    reason = first["msg"].removeprefix("Value error, ")
    if param is None and ": " in reason:  # a validator of the whole model names the field
        param = reason.partition(":")[0]
    message = reason if param and reason.startswith(param) else f"{param}: {reason}"
    return Problem(400, message, param=param)


def invalid(param: str, reason: str, code: str | None = None) -> Problem:
    """Return the problem of a field that is wrong."""
    return Problem(400, f"{param}: {reason}", param=param, code=code)


def refuse_unsupported(body: Mapping[str, Any], fields: Mapping[str, tuple[Any, ...]]) -> None:
    """Raise Problem if a field asks for what is not there.

    Args:
        body: the body.
        fields: the names, each with the values that ask for nothing special, besides those that
            mean none: null, "none", false, 0 and what is empty.
    """
    for name, usual in fields.items():
        if (value := body.get(name)) and value != "none" and value not in usual:
            raise invalid(name, "not supported", "unsupported_value")


def positive(body: Mapping[str, Any], name: str) -> int | None:
    """Return a field that is a positive integer, or null. Raises Problem."""
    value = body.get(name)
    if value is not None and (type(value) is not int or value < 1):
        raise invalid(name, "a positive integer is needed")
    return value


def stream_and_model(body: Mapping[str, Any]) -> tuple[bool, str]:
    """Return the fields `stream` and `model`. Raises Problem."""
    stream = body.get("stream") or False
    if not isinstance(stream, bool):
        raise invalid("stream", "a boolean is needed")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("model", "a string is needed")
    return stream, model


def as_list(value: Any) -> list[Any]:
    """Return a value that is not a list as the only item of one."""
    return value if isinstance(value, list) else [value]


PartOf = Callable[[dict[str, Any], str], dict[str, Any] | None]
"""Returns a part of content as one of ours, None if its type is unknown."""


def content_of(content: Any, where: str, part_of: PartOf) -> str | list[dict[str, Any]]:
    """Return the content of a message: text, or parts of ours. One part of text is text.

    Args:
        content: a string, null, or a list of parts.
        where: its path, for the problem.
        part_of: what makes a part one of ours.

    Raises:
        Problem: a part is of an unknown type, or has no text where it needs one.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise invalid(where, "a string or a list of parts is needed")
    parts = []
    for number, given in enumerate(content):
        at = f"{where}[{number}]"
        part = part_of(given, at) if isinstance(given, dict) else None
        if part is None:
            kind = given.get("type") if isinstance(given, dict) else given
            raise invalid(f"{at}.type", f"{kind!r} is not supported", "unsupported_value")
        if part["type"] == "text" and not isinstance(part["text"], str):
            raise invalid(f"{at}.text", "a string is needed")
        parts.append(part)
    if not parts:
        return ""
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts
