"""One request in a wire format, from admission to the last frame, and all of its refusals."""

import contextlib
import dataclasses
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dual_mode_streaming.errors import BrokenTransfer, Problem, StoreError
from dual_mode_streaming.llm._client import LLMClient
from dual_mode_streaming.llm._forwarding import Answer, Forwarded
from dual_mode_streaming.llm._problems import answer_events, problem_of_provider
from dual_mode_streaming.llm._provider import ProviderError
from dual_mode_streaming.llm.wire._format import ModelFormat, WireRequest, new_request_id
from dual_mode_streaming.llm.wire._forwarded import ForwardedFrames
from dual_mode_streaming.llm.wire._recorded import VerbatimFrames
from dual_mode_streaming.negotiation import ResponseMode
from dual_mode_streaming.rendering import Frames
from dual_mode_streaming.running.owner import logger
from dual_mode_streaming.sse import dumps
from dual_mode_streaming.web._problems import problem_of
from dual_mode_streaming.web._response import ANY_ITEMS, DualModeResponse

Admit = Callable[[Request], Awaitable[AbstractContextManager[object]]]


class WireResponse(Response):
    """The response to one request. Whatever is raised before its headers, it renders.

    Args:
        wire: the wire format of refusals.
        request: the request.
        admit: admits the request for as long as its context lasts, or raises Problem.
        respond: makes the response from the request id, once the request is admitted.
    """

    def __init__(
        self,
        wire: ModelFormat,
        request: Request,
        admit: Admit,
        respond: Callable[[str], Awaitable[Response]],
    ) -> None:
        super().__init__()
        self._wire = wire
        self._request = request
        self._admit = admit
        self._respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_request_id()
        try:
            with await self._admit(self._request):
                response = await self._respond(request_id)
                await response(scope, receive, send)
        except BrokenTransfer:
            raise
        except Exception as error:
            problem = _problem_of(error, scope["path"])
            await _render(self._wire, problem, request_id)(scope, receive, send)
        if self.background is not None:  # FastAPI puts the tasks of dependencies here
            await self.background()


class Keeper(Protocol):
    """Keeps an answer before its client is told that it is complete."""

    async def whole(self, body: Any) -> None:
        """Keep the body of an answer that is not streamed."""
        ...

    def streamed(
        self, items: AsyncGenerator[Any, None], frames: Frames
    ) -> AsyncGenerator[Any, None]:
        """Yield the items of an answer, whose frames are made by `frames`, and keep it."""
        ...


def completion(
    wire: ModelFormat,
    client: LLMClient,
    request: WireRequest,
    request_id: str,
    keeper: Keeper | None = None,
) -> Response:
    """Return the answer of a model, streamed if the request says so, whatever Accept says.

    Raises:
        Problem: the request is wrong, and no provider takes it as it came.
    """
    origin = request.chat.origin
    forwards = client.forwards(request.chat)
    if origin is not None and origin.problem is not None and not forwards:
        raise origin.problem
    input_tokens = client.provider.estimate_tokens(request.chat)

    async def fold(items: AsyncIterator[Answer]) -> Any:
        (item,) = [item async for item in items]
        body = item.data if isinstance(item, Forwarded) else wire.batch(request, request_id, item)
        if keeper is not None:
            await keeper.whole(body)
        return body

    made = wire.answer_frames(request, request_id, input_tokens)

    def frames() -> Frames:
        return ForwardedFrames(made) if forwards else made

    given: dict[str, str] = {}  # the headers of the provider's answer, as soon as there is one
    answer = answer_events(client, request.chat, stream=request.stream, headers=given)
    if keeper is not None and request.stream:
        answer = keeper.streamed(answer, made)
    response = _Completion(
        wire,
        request_id,
        answer,
        mode=ResponseMode.STREAM if request.stream else ResponseMode.BATCH,
        representation=dataclasses.replace(ANY_ITEMS, fold=fold, frames=frames),
        headers={wire.id_header: request_id},
    )
    if origin is not None and forwards:

        def answered(headers: Mapping[str, str]) -> None:
            given.clear()
            given.update(headers)
            response.headers.update(headers)

        origin.answered = answered
    return response


def frames_response(wire: ModelFormat, request_id: str, frames: AsyncIterator[bytes]) -> Response:
    """Return frames that were made before, as a stream."""
    return _Completion(
        wire,
        request_id,
        frames,
        mode=ResponseMode.STREAM,
        representation=dataclasses.replace(ANY_ITEMS, frames=VerbatimFrames),
        headers={wire.id_header: request_id},
        handles_last_event_id=True,
    )


def json_response(wire: ModelFormat, request_id: str, body: Any) -> Response:
    """Return a body as JSON."""
    headers = {wire.id_header: request_id}
    return Response(dumps(body), headers=headers, media_type="application/json")


class _Completion(DualModeResponse):
    """A dual-mode response that renders its refusals in a wire format."""

    def __init__(
        self, wire: ModelFormat, request_id: str, content: AsyncIterator[Any], **options: Any
    ) -> None:
        super().__init__(content, **options)
        self._wire = wire
        self._request_id = request_id

    def render_problem(self, problem: Problem) -> Response:
        """Return a refusal in the wire format."""
        return _render(self._wire, problem, self._request_id)


def _problem_of(error: Exception, path: str) -> Problem:
    if isinstance(error, ProviderError):
        return problem_of_provider(error)
    if isinstance(error, StoreError):
        logger.error("%s: the answer failed: %s", path, error)
    elif not isinstance(error, HTTPException):
        logger.error("%s: the answer failed", path, exc_info=error)
    return problem_of(error)


def _render(wire: ModelFormat, problem: Problem, request_id: str) -> Response:
    headers = MutableHeaders(headers=problem.headers or {})
    headers.setdefault(wire.id_header, request_id)
    upstream = _body_of(problem.members.get("upstream"))
    body = dumps(wire.error(problem, request_id) if upstream is None else upstream)
    return Response(body, problem.status_code, headers, media_type="application/json")


def _body_of(upstream: Any) -> dict[str, Any] | None:
    """Return the body of a refusal that came whole, or as the data of an event."""
    if not isinstance(upstream, dict) or upstream.keys() != {"name", "data"}:
        return upstream if isinstance(upstream, dict) else None
    with contextlib.suppress(ValueError, RecursionError):
        body = json.loads(upstream["data"])
        return body if isinstance(body, dict) and isinstance(body.get("error"), dict) else None
    return None
