"""`POST /chat`: our own face of the language models, in every mode."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import StrictBool

from dual_mode_streaming.llm import ChatRequest, LLMClient, StreamEvent, fold
from dual_mode_streaming.llm.faces.answer import told
from dual_mode_streaming.llm.faces.dialect import STATUS
from dual_mode_streaming.llm.faces.guard import Guard
from dual_mode_streaming.rendering import ItemCodec
from dual_mode_streaming.web.response import DualModeResponse

__all__ = ["ChatBody", "chat_routes"]

_CODEC = ItemCodec(StreamEvent, options={"exclude_none": True})


class ChatBody(ChatRequest):
    """A question. `stream` decides the mode where the query says nothing; else Accept does."""

    stream: StrictBool | None = None


def chat_routes(client: LLMClient, guard: Guard) -> APIRouter:
    """The route, answered by `client`: StreamEvents as a stream, the whole answer as a batch."""

    async def admitted(request: Request) -> AsyncIterator[None]:
        with guard.admit(request):
            yield  # until the answer has been sent

    routes = APIRouter(tags=["LLM"], dependencies=[Depends(admitted)])

    @routes.post(
        "/chat",
        summary="Ask a model",
        response_class=Response,
        responses={
            200: {
                "description": "The answer: one document, or its events as they come",
                "model": StreamEvent,
                "content": {
                    "text/event-stream": {},
                    "application/jsonl": {},
                },
            },
            **{status: {"description": kind} for kind, status in STATUS.items()},
            406: {"description": "Accept names nothing that there is"},
        },
    )
    async def chat(body: ChatBody, stream: Annotated[bool | None, Query()] = None) -> Response:
        request = ChatRequest.model_validate(body.model_dump(exclude={"stream"}))
        return DualModeResponse(
            told(client, request),
            stream=body.stream if stream is None else stream,
            stream_flag=None,
            codec=_CODEC,
            fold=_whole,
        )

    return routes


async def _whole(events: AsyncIterator[StreamEvent]) -> dict[str, Any]:
    return fold([event async for event in events]).model_dump(mode="json", exclude_none=True)
