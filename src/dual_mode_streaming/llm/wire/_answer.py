"""One request to a foreign face, from admission to the last frame."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dual_mode_streaming.errors import BrokenTransfer, Problem
from dual_mode_streaming.llm._client import LLMClient
from dual_mode_streaming.llm._events import EventType, StreamEvent
from dual_mode_streaming.llm._provider import CUT
from dual_mode_streaming.llm._requests import ChatRequest
from dual_mode_streaming.llm.wire._format import (
    STATUS,
    Dialect,
    read_json,
    refused,
    understood,
)
from dual_mode_streaming.negotiation import ResponseMode
from dual_mode_streaming.running.owner import logger
from dual_mode_streaming.web._response import DualModeResponse

__all__ = ["answer", "told"]


async def answer(
    dialect: Dialect,
    client: LLMClient,
    request: Request,
    admit: Callable[[Request], Awaitable[ExitStack]],
    *,
    body_limit: int,
) -> Response:
    """Answer one request in a dialect: streamed if its body says so, whatever Accept says.

    `admit` lets it in until it is answered, or raises Problem.
    """
    identity = dialect.new_id()
    stay = ExitStack()
    try:
        stay.enter_context(await admit(request))
        return await _admitted(dialect, client, request, identity, body_limit, stay)
    except Problem as refusal:
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

    return _Answer(
        told(client, asked.request, stream=asked.stream),
        dialect=dialect,
        identity=identity,
        stay=stay,
        mode=ResponseMode.STREAM if asked.stream else ResponseMode.BATCH,
        frames=lambda: dialect.frames(asked, identity, tokens),
        fold=fold,
        headers={dialect.id_header: identity},
    )


async def told(
    client: LLMClient, request: ChatRequest, *, stream: bool = True
) -> AsyncGenerator[StreamEvent, None]:
    """The events of an answer; closes them.

    An ERROR is raised as a Problem, so that it has its status if it comes first. What the simulator
    cuts on purpose is cut here as well: BrokenTransfer.
    """
    events = client.chat_completion(request, stream=stream)
    begun = False
    try:
        async for event in events:
            if event.type is EventType.ERROR:
                if event.status == CUT and begun:
                    raise BrokenTransfer(event.error)
                status = event.status if event.status != CUT else None
                status = status or STATUS[event.error_type or "server"]
                code = "model_not_found" if event.error_type == "not_found" else None
                raise Problem(status, event.error or "", code=code, retry_after=event.retry_after)
            begun = True
            yield event
    finally:
        await events.aclose()


class _Answer(DualModeResponse):
    """A dual-mode answer whose refusals are in a dialect; its admission ends with it."""

    def __init__(
        self,
        content: AsyncGenerator[StreamEvent, None],
        *,
        dialect: Dialect,
        identity: str,
        stay: ExitStack,
        **response: Any,
    ) -> None:
        super().__init__(content, **response)
        self._dialect = dialect
        self._identity = identity
        self._stay = stay

    def refuse(self, problem: dict[str, Any]) -> Response:
        """The problem in the dialect."""
        return self._refused(Problem(problem["status"], problem.get("detail", problem["title"])))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._stay:
            try:
                await super().__call__(scope, receive, send)
            except BrokenTransfer:
                raise
            except HTTPException as error:  # before the head has left
                refusal = Problem(error.status_code, str(error.detail))
                refusal.headers = error.headers
                if isinstance(error, Problem):
                    refusal = error
                await self._refused(refusal)(scope, receive, send)
            except Exception:
                logger.exception("%s: the answer could not be made", scope["path"])
                refusal = Problem(500, "the answer could not be made")
                await self._refused(refusal)(scope, receive, send)

    def _refused(self, refusal: Problem) -> Response:
        return refused(self._dialect, refusal, self._identity)
