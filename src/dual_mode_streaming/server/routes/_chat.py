"""`POST /chat`: our own face of the language models, in every mode."""

import contextlib
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import StrictBool

from dual_mode_streaming.limits import Admission
from dual_mode_streaming.llm import ChatRequest, LLMClient, StreamEvent, fold
from dual_mode_streaming.llm.wire._answer import told
from dual_mode_streaming.llm.wire._format import STATUS
from dual_mode_streaming.web._endpoint import dual_mode

__all__ = ["ChatBody", "chat_routes"]


class ChatBody(ChatRequest):
    """A question. `stream` decides the mode where the query says nothing; else Accept does."""

    stream: StrictBool | None = None


def chat_routes(client: LLMClient, admission: Admission) -> APIRouter:
    """The route, answered by `client`: StreamEvents as a stream, the whole answer as a batch."""

    async def admitted(request: Request) -> None:
        await admission.check(request)

    routes = APIRouter(tags=["LLM"], dependencies=[Depends(admitted)])

    @routes.post(
        "/chat",
        summary="Ask a model",
        response_model_exclude_none=True,
        responses={status: {"description": kind} for kind, status in STATUS.items()},
    )
    @dual_mode(record=True, fold=_whole)
    async def chat(
        asked: Request, body: ChatBody, stream: Annotated[bool | None, Query()] = None
    ) -> AsyncIterator[StreamEvent]:
        """The answer, recorded: whoever knows its Location can come back to it."""
        request = ChatRequest.model_validate(body.model_dump(exclude={"stream"}))
        with await admission.hold(
            asked
        ):  # as long as the model works, whether or not anybody reads
            async with contextlib.aclosing(told(client, request)) as events:
                async for event in events:
                    yield event

    return routes


async def _whole(events: AsyncIterator[StreamEvent]) -> StreamEvent:
    return fold([event async for event in events])
