"""One request to a foreign face, from admission to the last frame."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dual_mode_streaming.errors import BrokenTransfer
from dual_mode_streaming.llm.client import LLMClient
from dual_mode_streaming.llm.events import EventType, StreamEvent
from dual_mode_streaming.llm.faces.dialect import (
    STATUS,
    Asked,
    Dialect,
    Refusal,
    read_json,
    refused,
    understood,
)
from dual_mode_streaming.modes import ResponseMode
from dual_mode_streaming.web.owner import logger
from dual_mode_streaming.web.response import DualModeResponse

__all__ = ["answer"]


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
    tokens = client.provider.estimate_tokens(asked.request)

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
