"""The foreign faces as routes, for the service or for an app of yours."""

import time
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.limits import Admission
from dual_mode_streaming.llm._client import LLMClient
from dual_mode_streaming.llm.wire._answer import answer
from dual_mode_streaming.llm.wire._anthropic_messages import AnthropicMessages
from dual_mode_streaming.llm.wire._format import (
    Dialect,
    provider_errors_refused,
    read_json,
    refused,
    understood,
)
from dual_mode_streaming.llm.wire._openai_chat import OpenAIChat
from dual_mode_streaming.llm.wire._openai_responses import OpenAIResponses

__all__ = ["llm_routes"]

_EXAMPLE: Final = Problem(400, "model: a string is needed", param="model")
_REFUSALS: Final = {
    401: "A key is needed",
    400: "The request makes no sense, or asks for what there is not",
    404: "There is no such model",
    413: "The body is too large",
    429: "Too many requests, of ours or of the provider's",
    500: "The provider failed",
    502: "The provider could not be reached, or broke off",
    504: "The provider was too slow",
    529: "The provider is overloaded",
}


def llm_routes(
    client: LLMClient, *, admission: Admission | None = None, body_limit: int = 4 * 1024 * 1024
) -> APIRouter:
    """The wire formats of OpenAI and Anthropic, answered by `client` to whom `admission` admits.

    `body_limit` is the most bytes that a request may have; beyond it is a 413.
    """
    admit = (admission or Admission()).admit
    openai, responses, anthropic = OpenAIChat(), OpenAIResponses(), AnthropicMessages()
    routes = APIRouter(tags=["LLM"])

    @routes.post(
        "/v1/chat/completions",
        summary="OpenAI's chat completions",
        **_documented(["model", "messages"], openai.error(_EXAMPLE, "req_0"), streams=True),
    )
    async def chat_completions(request: Request) -> Response:
        return await answer(openai, client, request, admit, body_limit=body_limit)

    @routes.post(
        "/v1/responses",
        summary="OpenAI's responses",
        **_documented(["model", "input"], responses.error(_EXAMPLE, "req_0"), streams=True),
    )
    async def create_response(request: Request) -> Response:
        return await answer(responses, client, request, admit, body_limit=body_limit)

    @routes.post(
        "/v1/messages",
        summary="Anthropic's messages",
        **_documented(
            ["model", "max_tokens", "messages"], anthropic.error(_EXAMPLE, "req_0"), streams=True
        ),
    )
    async def messages(request: Request) -> Response:
        return await answer(anthropic, client, request, admit, body_limit=body_limit)

    @routes.post(
        "/v1/messages/count_tokens",
        summary="Anthropic's token count",
        **_documented(["model", "messages"], anthropic.error(_EXAMPLE, "req_0"), streams=False),
    )
    async def count_tokens(request: Request) -> Response:
        identity = anthropic.new_id()
        try:
            with await admit(request), provider_errors_refused():
                asked = understood(anthropic.counted, await read_json(request, body_limit))
                tokens = await client.provider.count_tokens(asked.request)
        except Problem as refusal:
            return refused(anthropic, refusal, identity)
        return JSONResponse({"input_tokens": tokens}, headers={anthropic.id_header: identity})

    @routes.get("/v1/models", summary="The models there are", response_model=dict[str, Any])
    async def models(request: Request) -> Response:
        theirs = "anthropic-version" in request.headers
        dialect: Dialect = anthropic if theirs else openai
        identity = dialect.new_id()
        try:
            with await admit(request), provider_errors_refused():
                names = await client.provider.models()
        except Problem as refusal:
            return refused(dialect, refusal, identity)
        listed = (
            _models_of_anthropic(names)
            if theirs
            else _models_of_openai(names, client.provider.name)
        )
        return JSONResponse(listed, headers={dialect.id_header: identity})

    return routes


def _documented(
    required: list[str], error_example: dict[str, Any], *, streams: bool
) -> dict[str, Any]:
    """What the document says of a face: the least of a body, both modes, and how it refuses."""
    message = {
        "type": "object",
        "required": ["role", "content"],
        "properties": {"role": {"type": "string"}, "content": {"type": ["string", "array"]}},
    }
    types: dict[str, Any] = {
        "model": {"type": "string", "minLength": 1},
        "max_tokens": {"type": "integer", "minimum": 1},
        "messages": {"type": "array", "minItems": 1, "items": message},
        "input": {"type": ["string", "array"], "minItems": 1, "items": message},
    }
    body: dict[str, Any] = {
        "type": "object",
        "required": required,
        "properties": {name: types[name] for name in required},
    }
    answers: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
    if streams:
        body["properties"]["stream"] = {"type": "boolean", "default": False}
        answers["text/event-stream"] = {}
    refusal = {"schema": {"type": "object", "required": ["error"]}, "example": error_example}
    refusals = {
        status: {"description": reason, "content": {"application/json": refusal}}
        for status, reason in _REFUSALS.items()
    }
    return {
        "response_class": Response,
        "responses": {200: {"description": "The answer", "content": answers}, **refusals},
        "openapi_extra": {
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}}
        },
    }


def _models_of_openai(names: list[str], owner: str) -> dict[str, Any]:
    now = int(time.time())
    models = [{"id": name, "object": "model", "created": now, "owned_by": owner} for name in names]
    return {"object": "list", "data": models}


def _models_of_anthropic(names: list[str]) -> dict[str, Any]:
    made = {"created_at": "2026-01-01T00:00:00Z", "lifecycle": "active"}
    models = [{"type": "model", "id": name, "display_name": name, **made} for name in names]
    ends = {"first_id": names[0], "last_id": names[-1]} if names else {}
    return {"data": models, "has_more": False, **ends}
