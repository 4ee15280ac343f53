"""Front ends: `/ui/chat` for the AI SDK's `useChat`, and `/agui` for AG-UI; both resumable."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from dual_mode_streaming import dual_mode
from dual_mode_streaming.limits import Admission
from dual_mode_streaming.limits._guard import guarded_route
from dual_mode_streaming.llm import ChatRequest, LLMClient, StreamEvent
from dual_mode_streaming.llm._problems import answer_events
from dual_mode_streaming.llm.wire import AGUI, AGUIRun, UIChat, UIMessageStream
from dual_mode_streaming.web._routes import WHOLE_PATH

_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The answer", "content": {"text/event-stream": {}}}
}
_REFUSED: Final[dict[int | str, dict[str, Any]]] = {
    410: {"description": "Parts of it are not stored any more"},
    503: {"description": "The server is shutting down, or the store cannot be reached"},
}


def frontend_routes(client: LLMClient, admission: Admission) -> APIRouter:
    """Return the routes. The field `model` of a body, or of `forwardedProps`, names the model."""
    routes = APIRouter(tags=["Front ends"], route_class=guarded_route(admission.check))

    async def answer(request: Request, asked: ChatRequest) -> AsyncIterator[StreamEvent]:
        with await admission.hold(request):  # while the model works, with or without a reader
            async with contextlib.aclosing(answer_events(client, asked)) as events:
                async for event in events:
                    yield event

    @dual_mode(wire=UIMessageStream(), record=True)
    def ui_chat(request: Request, body: UIChat) -> AsyncIterator[StreamEvent]:
        """A new request of a chat ends the answer that runs."""
        return answer(request, body.chat(model=_text((body.model_extra or {}).get("model"))))

    @dual_mode(wire=AGUI(), record=True)
    def agui(request: Request, body: AGUIRun) -> AsyncIterator[StreamEvent]:
        """The frames have ids; with `Last-Event-ID` the run goes on after one."""
        props = body.forwardedProps
        model = props.get("model") if isinstance(props, dict) else None
        return answer(request, body.chat(model=_text(model)))

    routes.post("/ui/chat", summary="Ask a model, for useChat")(ui_chat)
    routes.get(
        f"/ui/chat/{{chat_id:{WHOLE_PATH}}}/stream",
        summary="The running answer of a chat",
        response_class=Response,
        responses={**_STREAM, 204: {"description": "None is running"}, **_REFUSED},
    )(ui_chat.resume)
    routes.post(
        f"/ui/chat/{{chat_id:{WHOLE_PATH}}}/stop",
        summary="Stop the answer of a chat",
        responses={503: {"description": "The store cannot be reached"}},
    )(ui_chat.stop)
    routes.post("/agui", summary="Run the model, for AG-UI")(agui)
    routes.get(
        "/agui",
        summary="Join a run",
        response_class=Response,
        responses={**_STREAM, 404: {"description": "There is no such run"}, **_REFUSED},
    )(agui.resume)
    routes.post(
        f"/agui/{{runId:{WHOLE_PATH}}}/stop",
        summary="Stop a run",
        responses={
            404: {"description": "There is no such run"},
            503: {"description": "The store cannot be reached"},
        },
    )(agui.stop)
    return routes


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
