"""What a dialect is, and how a request is read and refused in one."""

import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Final, Protocol

import pydantic_core
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm._events import ErrorType, StreamEvent
from dual_mode_streaming.llm._provider import ProviderError
from dual_mode_streaming.llm._requests import ChatRequest
from dual_mode_streaming.sse import dumps
from dual_mode_streaming.web._problems import NOBODY
from dual_mode_streaming.web._stream_sink import Frames

__all__ = [
    "STATUS",
    "Asked",
    "Dialect",
    "provider_errors_refused",
    "random_id",
    "read_json",
    "refused",
    "text_of",
    "understood",
    "unsupported",
]

STATUS: Final[dict[ErrorType, int]] = {
    "invalid_request": 400,
    "authentication": 401,
    "permission": 403,
    "not_found": 404,
    "too_large": 413,
    "rate_limit": 429,
    "server": 500,
    "overloaded": 529,
    "timeout": 504,
    "connection": 502,
    "stream_truncated": 502,
}


@dataclass(frozen=True)
class Asked:
    """A request, as we understand it, with what only the face needs to know."""

    request: ChatRequest
    stream: bool
    model: str  # as it was named, for the answer
    usage_chunk: bool = False
    echo: Mapping[str, Any] = field(default_factory=dict)  # what the answer repeats of the request


class Dialect(Protocol):
    """One foreign wire format."""

    id_header: str

    def new_id(self) -> str:
        """An id for one request, as that service makes them."""
        ...

    def asked(self, body: dict[str, Any]) -> Asked:
        """What a body asks for. Raises Problem, ValidationError or ValueError."""
        ...

    def frames(self, asked: Asked, identity: str, input_tokens: int) -> Frames:
        """The wire format of one streamed answer."""
        ...

    def batch(self, asked: Asked, identity: str, whole: StreamEvent) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        ...

    def error(self, refusal: Problem, identity: str) -> dict[str, Any]:
        """The body of a refusal."""
        ...


@contextmanager
def provider_errors_refused() -> Iterator[None]:
    """Raise a ProviderError as the Problem that it comes to."""
    try:
        yield
    except ProviderError as error:
        status = error.status or STATUS[error.error_type]
        raise Problem(status, str(error), retry_after=error.retry_after) from error


async def read_json(request: Request, limit: int) -> dict[str, Any]:
    """The body, a JSON object of at most `limit` bytes. Raises Problem; reads no more than that."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise Problem(413, f"the body has more than {limit} bytes")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise Problem(413, f"the body has more than {limit} bytes")
    except ClientDisconnect:
        raise Problem(NOBODY.status_code, "the client has left") from None
    try:
        # json.loads takes NaN and lone surrogates, which no answer could repeat.
        value = pydantic_core.from_json(bytes(body), allow_inf_nan=False)
    except ValueError as error:
        raise Problem(400, f"the body is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise Problem(400, "the body is to be a JSON object")
    return value


def text_of(content: Any, where: str, kinds: Mapping[str, str]) -> str:
    """The text of a message: a string, null, or a list of parts of the given kinds.

    Raises Problem for parts of another kind.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise Problem(400, f"{where}: a string or a list of parts is needed", param=where)
    texts = []
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get(kinds[kind]) if isinstance(kind, str) and kind in kinds else None
        if not isinstance(text, str):
            raise Problem(
                400,
                f"{where}[{number}].type: {kind!r} is not supported, but {', '.join(kinds)}",
                param=f"{where}[{number}].type",
                code="unsupported_value",
            )
        texts.append(text)
    return "".join(texts)


def unsupported(body: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Raises Problem if one of the fields is there with another value than the one that is."""
    for name, harmless in fields.items():
        if name in body and body[name] is not None and body[name] != harmless:
            message = f"{name}: not supported"
            raise Problem(400, message, param=name, code="unsupported_value")


def understood(read: Callable[[dict[str, Any]], Asked], body: dict[str, Any]) -> Asked:
    """What a body asks for, by a dialect's `asked`. Raises Problem, which names the field."""
    try:
        return read(body)
    except ValidationError as error:
        first = error.errors()[0]
        # Behind the field there may be the names of a union's members, which are ours.
        fields = takewhile(lambda part: not re.search(r"\W|[A-Z]", part), map(str, first["loc"]))
        param = ".".join(fields) or None
        reason = first["msg"].removeprefix("Value error, ")
        if param is None and ": " in reason:  # a check of the whole names its field itself
            param = reason.partition(":")[0]
        message = reason if param and reason.startswith(param) else f"{param}: {reason}"
        raise Problem(400, message, param=param) from error


def refused(dialect: Dialect, refusal: Problem, identity: str) -> Response:
    """A refusal as a response."""
    headers = {**(refusal.headers or {}), dialect.id_header: identity}
    return Response(
        dumps(dialect.error(refusal, identity)),
        refusal.status_code,
        headers=headers,
        media_type="application/json",
    )


def random_id(prefix: str) -> str:
    """An id nobody can guess."""
    return prefix + secrets.token_hex(12)
