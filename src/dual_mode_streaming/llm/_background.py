"""Responses in the background and kept ones: created, read, cancelled and deleted by any worker."""

import contextlib
import dataclasses
import functools
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.limits import Admission
from dual_mode_streaming.llm._client import LLMClient
from dual_mode_streaming.llm._off_loop import off_loop
from dual_mode_streaming.llm._problems import answer_events
from dual_mode_streaming.llm.wire._answer import (
    WireResponse,
    completion,
    frames_response,
    json_response,
)
from dual_mode_streaming.llm.wire._format import WireRequest
from dual_mode_streaming.llm.wire._hop import Hop
from dual_mode_streaming.llm.wire._kept_responses import (
    OPERATION,
    KeptResponse,
    KeptResponses,
    as_items,
    frame_object,
    head_of,
    to_terminal,
)
from dual_mode_streaming.llm.wire._openai_responses import OpenAIResponses
from dual_mode_streaming.llm.wire._parsing import (
    BodyLimits,
    invalid,
    parse_request,
    read_body,
)
from dual_mode_streaming.llm.wire._recorded import frames_of
from dual_mode_streaming.llm.wire._references import with_items
from dual_mode_streaming.recordings import StreamGone
from dual_mode_streaming.sse import dumps
from dual_mode_streaming.web._fingerprint import digest

_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}


class Responses:
    """The API of OpenAI's responses.

    Args:
        wire: its wire format.
        client: answers the requests.
        admission: API keys and limits.
        hop: the mark of this service on requests.
        limits: those of the body of a request.
    """

    def __init__(
        self,
        wire: OpenAIResponses,
        client: LLMClient,
        admission: Admission,
        hop: Hop,
        limits: BodyLimits,
    ) -> None:
        self._wire = wire
        self._hop = hop
        self._client = client
        self._admission = admission
        self._limits = limits
        self._kept = KeptResponses()

    def create(self, request: Request) -> Response:
        """Answer `POST /v1/responses`."""
        slots: list[ExitStack] = []

        async def admit(request: Request) -> ExitStack:
            slots.append(await self._admission.admit(request))
            return slots[0]

        async def respond(request_id: str) -> Response:
            body, is_large = await read_body(request, self._limits)
            background = _is_background(body)
            if background and not self._kept.answers.is_possible(request):
                reason = "this app keeps no responses: it needs install(app, store=...)"
                raise invalid("background", reason, "unsupported_value")
            headers = self._hop.passed(request.headers)
            is_kept = body.get("store") is not False and self._kept.answers.is_possible(request)
            body, unknown, is_large = await self._complete(request, body, is_large)
            parsed = await off_loop(
                is_large, self._parsed, body, headers, background, is_kept, unknown, is_large
            )
            if not background:
                keep = self._kept.keeper(request, body, is_large) if is_kept else None
                return completion(self._wire, self._client, parsed, request_id, keep)
            # The model may work when this request is over: its slot goes with it.
            kept = await self._start(request, body, parsed, slots[0], is_large)
            if parsed.stream:
                return frames_response(self._wire, request_id, kept.frames(-1))
            return json_response(self._wire, request_id, kept.as_queued())

        return WireResponse(self._wire, request, admit, respond)

    def count(self, request: Request) -> Response:
        """Answer `POST /v1/responses/input_tokens`."""

        async def respond(request_id: str) -> Response:
            body, is_large = await read_body(request, self._limits)
            body.setdefault("model", self._client.provider.default_model)
            headers = self._hop.passed(request.headers)
            body, unknown, is_large = await self._complete(request, body, is_large)
            parsed = await off_loop(
                is_large, self._parsed, body, headers, False, False, unknown, is_large
            )
            chat = parsed.chat
            if chat.origin and chat.origin.problem and not self._client.forwards(chat):
                raise chat.origin.problem
            counted = {"input_tokens": await self._client.provider.count_tokens(chat)}
            answer = {"object": "response.input_tokens", **counted}
            return json_response(self._wire, request_id, answer)

        return WireResponse(self._wire, request, self._admission.admit, respond)

    def add_to(self, routes: APIRouter) -> None:
        """Add the routes of responses that exist."""
        path = "/v1/responses/{response_id}"
        options: dict[str, Any] = {"response_class": Response, "responses": _ANSWERS}

        @routes.get(path, summary="Read a response, or its events", **options)
        async def retrieve_response(
            request: Request,
            response_id: str,
        ) -> Response:
            return self._answer(request, response_id, self._retrieve)

        @routes.post(f"{path}/cancel", summary="Cancel a response in the background", **options)
        async def cancel_response(request: Request, response_id: str) -> Response:
            return self._answer(request, response_id, self._cancel)

        @routes.delete(path, summary="Delete a response", **options)
        async def delete_response(request: Request, response_id: str) -> Response:
            return self._answer(request, response_id, self._delete)

        @routes.get(f"{path}/input_items", summary="List the input of a response", **options)
        async def list_input_items(request: Request, response_id: str) -> Response:
            return self._answer(request, response_id, self._input_items)

    def _answer(
        self,
        request: Request,
        identity: str,
        respond: Callable[[Request, KeptResponse, str], Awaitable[Response]],
    ) -> Response:
        async def admit(request: Request) -> ExitStack:
            await self._admission.check(request, answers=False)
            return ExitStack()

        async def found(request_id: str) -> Response:
            kept = await self._kept.find(request, identity)
            if kept is not None:
                with contextlib.suppress(StreamGone):  # at this moment
                    return await respond(request, kept, request_id)
            message = f"Response with id '{identity[:80]}' not found."
            raise Problem(404, message, code="response_not_found")

        return WireResponse(self._wire, request, admit, found)

    async def _complete(
        self, request: Request, given: dict[str, Any], is_large: bool
    ) -> tuple[dict[str, Any], Problem | None, bool]:
        """Return a body with the kept items that it names; see `KeptResponses.continued`."""
        output_of = functools.partial(self._kept.output_of, request)
        body = await with_items(given, self._wire.is_known, output_of)
        is_large = is_large or body is not given  # what is named may be large
        body, unknown, is_added = await self._kept.continued(request, body)
        return body, unknown, is_large or is_added

    def _parsed(
        self,
        body: dict[str, Any],
        headers: dict[str, str],
        background: bool,
        is_kept: bool,
        unknown: Problem | None,
        is_large: bool,
    ) -> WireRequest:
        """Parse a body whose items are complete, unless its previous response is `unknown`.

        Raises:
            Problem: it is wrong, and is not for a provider that takes it as it came.
        """
        previous = body.get("previous_response_id")
        resolved = {**body, "background": None, "previous_response_id": None}
        parsed = parse_request(self._wire, resolved, headers, is_large)
        origin = parsed.chat.origin
        assert origin is not None
        origin.body = body  # as it came, unless its items are complete only now
        if unknown is not None:
            origin.problem = unknown
        elif previous is not None:
            origin.body = {n: v for n, v in body.items() if n != "previous_response_id"}
        echo: dict[str, Any] = {
            "background": background,
            "previous_response_id": previous,
            "store": is_kept,
        }
        if background:
            if origin.problem is not None:
                raise origin.problem
            # What the provider makes has another id, and may go on without us: it is translated.
            parsed = dataclasses.replace(parsed, chat=parsed.chat.with_origin(None))
            echo["created_at"] = int(time.time())
        return dataclasses.replace(parsed, echo={**parsed.echo, **echo})

    async def _start(
        self,
        request: Request,
        body: dict[str, Any],
        parsed: WireRequest,
        slot: ExitStack,
        is_large: bool,
    ) -> KeptResponse:
        """Start a response in the background. The slot is released when the model has ended."""
        identity = secrets.token_hex(16)
        stream = self._kept.stream_of(request, f"resp_{identity}")
        tokens = self._client.provider.estimate_tokens(parsed.chat)
        frames = self._wire.answer_frames(parsed, f"req_{identity}", tokens)
        begun = self._wire.answer_frames(parsed, f"req_{identity}", tokens).opening()
        response = frame_object(begun.partition(b"\n\n")[0])["response"]
        held = slot.pop_all()

        def made() -> AsyncGenerator[bytes, None]:
            return to_terminal(frames_of(frames, answer_events(self._client, parsed.chat)))

        key = request.headers.get("idempotency-key")
        fingerprint = await off_loop(is_large, lambda: digest(dumps(body).decode()))
        head = await off_loop(is_large, head_of, response, as_items(body["input"]))
        try:
            answer = await self._kept.answers.start(
                request,
                stream,
                head,
                made,
                held=held,
                fingerprint=fingerprint,
                key=digest(OPERATION, key) if key else None,
            )
        except BaseException:
            held.close()
            raise
        if answer.info.new.stream != stream:
            held.close()
        if answer.info.new.fingerprint != fingerprint:
            raise Problem(400, "this Idempotency-Key was used with another request")
        return await KeptResponse.of(answer)

    async def _retrieve(self, request: Request, kept: KeptResponse, request_id: str) -> Response:
        query = request.query_params
        stream = _FLAGS.get(query.get("stream", "false").lower())
        if stream is None:
            raise invalid("stream", "true or false is needed")
        after = _number(query.get("starting_after"), "starting_after", -1, 0)
        if not stream:
            if after != -1:
                raise invalid("starting_after", "only with stream")
            return json_response(self._wire, request_id, await kept.as_object())
        if not kept.is_background:
            raise invalid("stream", "only a response with background=true can be streamed again")
        if after >= kept.answer.count:
            reason = f"the response has no event {after}; the last is {kept.answer.count - 1}"
            raise invalid("starting_after", reason)
        return frames_response(self._wire, request_id, kept.frames(after))

    async def _cancel(self, request: Request, kept: KeptResponse, request_id: str) -> Response:
        if not kept.is_background:
            raise Problem(400, "Cannot cancel a synchronous response.")
        kept.answer = await kept.answer.cancel(request)
        return json_response(self._wire, request_id, await kept.as_object())

    async def _delete(self, _: Request, kept: KeptResponse, request_id: str) -> Response:
        await kept.answer.delete()
        deleted = {"id": kept.id, "object": "response", "deleted": True}
        return json_response(self._wire, request_id, deleted)

    async def _input_items(self, request: Request, kept: KeptResponse, request_id: str) -> Response:
        query = request.query_params
        order = query.get("order", "desc")
        if order not in ("asc", "desc"):
            raise invalid("order", "asc or desc is needed")
        limit = _number(query.get("limit"), "limit", 20, 1, 100)
        page = kept.input_items(after=query.get("after"), limit=limit, ascending=order == "asc")
        return json_response(self._wire, request_id, page)


_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The response, its events, or what became of it"},
    400: {"description": "The request is invalid, or the response is none of the background"},
    401: {"description": "A valid key is required"},
    404: {"description": "There is no such response, or it has another owner"},
    503: {"description": "The store cannot be reached, or the server is shutting down"},
}


def _is_background(body: dict[str, Any]) -> bool:
    """Return the field `background`. Raises Problem."""
    background = body.get("background") or False
    if not isinstance(background, bool):
        raise invalid("background", "a boolean is needed")
    if background and body.get("store") is False:
        raise invalid("background", "only with store: a response in the background is kept")
    return background


def _number(given: str | None, name: str, default: int, least: int, most: int = 10**15) -> int:
    """Return a query parameter that is an integer. Raises Problem."""
    if given is None:
        return default
    if not (given.isascii() and given.isdecimal() and len(given) < 17):
        raise invalid(name, "an integer is needed")
    if not least <= (number := int(given)) <= most:
        raise invalid(name, f"at least {least}" + (f", at most {most}" if most < 10**15 else ""))
    return number
