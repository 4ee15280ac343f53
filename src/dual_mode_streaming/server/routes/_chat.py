"""`POST /chat`: a recorded chat with a language model, in every mode."""

import contextlib
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import StrictBool

from dual_mode_streaming import dual_mode
from dual_mode_streaming.limits import Admission
from dual_mode_streaming.limits._guard import guarded_route
from dual_mode_streaming.llm import ChatRequest, LLMClient, StreamEvent, fold
from dual_mode_streaming.llm._problems import STATUS, answer_events


class ChatBody(ChatRequest):
    """A chat request. `?stream=` selects the mode, or else `stream`, or else Accept."""

    stream: StrictBool | None = None


def chat_routes(client: LLMClient, admission: Admission) -> APIRouter:
    """Return the route: `StreamEvent`s, or as a batch one that holds the whole answer."""

    routes = APIRouter(tags=["LLM"], route_class=guarded_route(admission.check))

    @routes.post(
        "/chat",
        summary="Ask a model",
        response_model_exclude_none=True,
        responses={status: {"description": kind} for kind, status in STATUS.items()},
    )
    @dual_mode(record=True, fold=_whole)
    async def chat(
        request: Request, body: ChatBody, stream: Annotated[bool | None, Query()] = None
    ) -> AsyncIterator[StreamEvent]:
        """The answer is recorded: its `Location` can be read again, joined or cancelled."""
        chat_request = ChatRequest.model_validate(body.model_dump(exclude={"stream"}))
        with await admission.hold(request):  # while the model works, with or without a reader
            async with contextlib.aclosing(answer_events(client, chat_request)) as events:
                async for event in events:
                    yield event

    return routes


async def _whole(events: AsyncIterator[StreamEvent]) -> StreamEvent:
    return fold([event async for event in events])
