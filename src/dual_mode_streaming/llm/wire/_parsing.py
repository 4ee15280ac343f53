"""Parse requests in a wire format: whatever is wrong is a `Problem` that names the field."""

import re
from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Any

import pydantic_core
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm.wire._format import WireRequest
from dual_mode_streaming.web._problems import CLIENT_GONE


async def read_body(request: Request, limit: int) -> dict[str, Any]:
    """Read the body, a JSON object of at most `limit` bytes, and no more than that.

    Raises:
        Problem: 413 for a larger body, 400 if it is not a JSON object.
    """
    too_large = Problem(413, f"the body has more than {limit} bytes")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise too_large
    except ClientDisconnect:
        raise Problem(CLIENT_GONE.status_code, "the client has left") from None
    try:
        # json.loads accepts NaN and lone surrogates, which no answer could repeat.
        value = pydantic_core.from_json(bytes(body), allow_inf_nan=False)
    except ValueError as error:
        raise Problem(400, f"the body is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise Problem(400, "the body must be a JSON object")
    return value


def parse_request(
    parse: Callable[[dict[str, Any]], WireRequest], body: dict[str, Any]
) -> WireRequest:
    """Parse a body with a wire format's `parse`. Raises Problem, which names the field."""
    try:
        return parse(body)
    except ValidationError as error:
        first = error.errors()[0]
        # After the field, the location may have the names of the members of a union.
        fields = takewhile(lambda part: not re.search(r"\W|[A-Z]", part), map(str, first["loc"]))
        param = ".".join(fields) or None
        reason = first["msg"].removeprefix("Value error, ")
        if param is None and ": " in reason:  # a validator of the whole model names the field
            param = reason.partition(":")[0]
        message = reason if param and reason.startswith(param) else f"{param}: {reason}"
        raise Problem(400, message, param=param) from error


def invalid(param: str, reason: str, code: str | None = None) -> Problem:
    """Return the problem of a field that is wrong."""
    return Problem(400, f"{param}: {reason}", param=param, code=code)


def refuse_unsupported(body: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Raise Problem if a field has another value than the one that is supported, or null."""
    for name, supported in fields.items():
        if name in body and body[name] is not None and body[name] != supported:
            raise invalid(name, "not supported", "unsupported_value")


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


def text_of(content: Any, where: str, kinds: Mapping[str, str]) -> str:
    """Return the text of a message: a string, null, or a list of parts.

    Args:
        content: the content of the message.
        where: its path, for the problem.
        kinds: the types of parts that are supported, each with the field that has its text.

    Raises:
        Problem: a part is of another type.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise invalid(where, "a string or a list of parts is needed")
    texts = []
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get(kinds[kind]) if isinstance(kind, str) and kind in kinds else None
        if not isinstance(text, str):
            reason = f"{kind!r} is not supported; supported: {', '.join(kinds)}"
            raise invalid(f"{where}[{number}].type", reason, "unsupported_value")
        texts.append(text)
    return "".join(texts)
