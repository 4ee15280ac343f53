"""What the foreign faces share: a request is read, refused and answered in a dialect."""

import json
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dual_mode_streaming.errors import BrokenTransfer
from dual_mode_streaming.llm.client import LLMClient
from dual_mode_streaming.llm.events import ErrorType, EventType, StreamEvent
from dual_mode_streaming.llm.requests import ChatRequest
from dual_mode_streaming.modes import ResponseMode
from dual_mode_streaming.sse import dumps
from dual_mode_streaming.web.delivery import Frames
from dual_mode_streaming.web.owner import logger
from dual_mode_streaming.web.response import DualModeResponse

__all__ = [
    "STATUS",
    "Asked",
    "Dialect",
    "Refusal",
    "answer",
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


class Refusal(HTTPException):
    """A request is not answered, or not to its end.

    `param` names the field that is to blame, `code` says more where a dialect has one.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        headers = None if retry_after is None else {"retry-after": f"{max(0.0, retry_after):g}"}
        super().__init__(status, message, headers)
        self.param = param
        self.code = code


@dataclass(frozen=True)
class Asked:
    """A request, as we understand it, with what only the face needs to know."""

    request: ChatRequest
    stream: bool
    model: str  # as it was named, for the answer
    usage_chunk: bool = False


class Dialect(Protocol):
    """One foreign wire format."""

    id_header: str

    def new_id(self) -> str:
        """An id for one request, as that service makes them."""
        ...

    def asked(self, body: dict[str, Any]) -> Asked:
        """What a body asks for. Raises Refusal, ValidationError or ValueError."""
        ...

    def frames(self, asked: Asked, identity: str, input_tokens: int) -> Frames:
        """The wire format of one streamed answer."""
        ...

    def batch(self, asked: Asked, identity: str, whole: StreamEvent) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        ...

    def error(self, refusal: Refusal, identity: str) -> dict[str, Any]:
        """The body of a refusal."""
        ...


async def read_json(request: Request, limit: int) -> dict[str, Any]:
    """The body, a JSON object of at most `limit` bytes. Raises Refusal; reads no more than that."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise Refusal(413, f"the body has more than {limit} bytes")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise Refusal(413, f"the body has more than {limit} bytes")
    try:
        value = json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"the body is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise Refusal(400, "the body is to be a JSON object")
    return value


def text_of(content: Any, where: str, kinds: Mapping[str, str]) -> str:
    """The text of a message: a string, null, or a list of parts of the given kinds.

    Raises Refusal for parts of another kind.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise Refusal(400, f"{where}: a string or a list of parts is needed", param=where)
    texts = []
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get(kinds[kind]) if isinstance(kind, str) and kind in kinds else None
        if not isinstance(text, str):
            raise Refusal(
                400,
                f"{where}[{number}].type: {kind!r} is not supported, but {', '.join(kinds)}",
                param=f"{where}[{number}].type",
                code="unsupported_value",
            )
        texts.append(text)
    return "".join(texts)


def unsupported(body: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Raises Refusal if one of the fields is there with another value than the one that is."""
    for name, harmless in fields.items():
        if name in body and body[name] is not None and body[name] != harmless:
            message = f"{name}: not supported"
            raise Refusal(400, message, param=name, code="unsupported_value")


async def answer(
    dialect: Dialect,
    client: LLMClient,
    request: Request,
    admit: Callable[[Request], AbstractContextManager[None]],
    *,
    body_limit: int,
) -> Response:
    """Answer one request in a dialect: streamed if its body says so, whatever Accept says.

    `admit` lets it in until it is answered, or raises Refusal.
    """
    identity = dialect.new_id()
    stay = ExitStack()
    try:
        stay.enter_context(admit(request))
        return await _admitted(dialect, client, request, identity, body_limit, stay)
    except Refusal as refusal:
        stay.close()
        return refused(dialect, refusal, identity)
    except BaseException:
        stay.close()
        raise


async def _admitted(
    dialect: Dialect,
    client: LLMClient,
    request: Request,
    identity: str,
    body_limit: int,
    stay: ExitStack,
) -> Response:
    asked = understood(dialect.asked, await read_json(request, body_limit))
    tokens = await client.provider.count_tokens(asked.request) if asked.stream else 0

    async def fold(events: Any) -> dict[str, Any]:
        (whole,) = [event async for event in events]
        return dialect.batch(asked, identity, whole)

    inner = DualModeResponse(
        _told(client, asked),
        mode=ResponseMode.STREAM if asked.stream else ResponseMode.BATCH,
        frames=lambda: dialect.frames(asked, identity, tokens),
        fold=fold,
        headers={dialect.id_header: identity},
    )
    return _InDialect(dialect, identity, inner, stay)


def understood(read: Callable[[dict[str, Any]], Asked], body: dict[str, Any]) -> Asked:
    """What a body asks for, by a dialect's `asked`. Raises Refusal, which names the field."""
    try:
        return read(body)
    except ValidationError as error:
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"]) or None
        reason = first["msg"].removeprefix("Value error, ")
        if param is None and ": " in reason:  # a check of the whole names its field itself
            param = reason.partition(":")[0]
        message = reason if param and reason.startswith(param) else f"{param}: {reason}"
        raise Refusal(400, message, param=param) from error


async def _told(client: LLMClient, asked: Asked) -> AsyncGenerator[StreamEvent, None]:
    """The events of an answer; an ERROR is raised, so that it has its status if it comes first."""
    stream = client.chat_completion(asked.request, stream=asked.stream)
    try:
        async for event in stream:
            if event.type is EventType.ERROR:
                status = event.status or STATUS[event.error_type or "server"]
                code = "model_not_found" if event.error_type == "not_found" else None
                raise Refusal(status, event.error or "", code=code, retry_after=event.retry_after)
            yield event
    finally:
        await stream.aclose()


class _InDialect(Response):
    """Sends a response, and lets go of its admission then.

    What is raised before the head of the response has left is refused in the dialect.
    """

    def __init__(
        self, dialect: Dialect, identity: str, inner: DualModeResponse, stay: ExitStack
    ) -> None:
        super().__init__()
        self._stay = stay
        self._dialect = dialect
        self._identity = identity
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._stay:
            await self._send(scope, receive, send)

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._inner(scope, receive, send)
        except BrokenTransfer:
            raise
        except HTTPException as error:
            refusal = error if isinstance(error, Refusal) else Refusal(error.status_code, "")
            refusal.headers = error.headers
            await refused(self._dialect, refusal, self._identity)(scope, receive, send)
        except Exception:
            logger.exception("%s: the answer could not be made", scope["path"])
            refusal = Refusal(500, "the answer could not be made")
            await refused(self._dialect, refusal, self._identity)(scope, receive, send)


def refused(dialect: Dialect, refusal: Refusal, identity: str) -> Response:
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
