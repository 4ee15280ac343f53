"""The wire formats of OpenAI and Anthropic as routes."""

from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.limits import Admission
from dual_mode_streaming.llm._background import Responses
from dual_mode_streaming.llm._client import LLMClient
from dual_mode_streaming.llm._factory import BODY_LIMIT, BODY_VALUES
from dual_mode_streaming.llm._fallback import (
    NO_WEBSOCKET,
    add_fallback,
    problem_of_path,
    refuse_websocket,
)
from dual_mode_streaming.llm._models import ModelList
from dual_mode_streaming.llm._off_loop import off_loop
from dual_mode_streaming.llm.wire._answer import WireResponse, completion, json_response
from dual_mode_streaming.llm.wire._anthropic_messages import AnthropicMessages, AnthropicTokenCount
from dual_mode_streaming.llm.wire._format import ModelFormat, WireRequest
from dual_mode_streaming.llm.wire._hop import Hop
from dual_mode_streaming.llm.wire._openai_chat import OpenAIChat
from dual_mode_streaming.llm.wire._openai_responses import OpenAIResponses
from dual_mode_streaming.llm.wire._parsing import BodyLimits, parse_request, read_body
from dual_mode_streaming.sse import dumps
from dual_mode_streaming.web._routes import WHOLE_PATH

_EXAMPLE: Final = Problem(400, "model: a string is needed", param="model")
_REFUSALS: Final = {
    400: "The request is invalid, or has a field that is not supported",
    401: "A valid key is required",
    404: "The model does not exist",
    413: "The body is too large",
    429: "Too many requests, for this service or for the provider",
    500: "The provider failed",
    502: "The connection to the provider failed",
    504: "The provider timed out",
    529: "The provider is overloaded",
}


def llm_routes(
    client: LLMClient,
    *,
    admission: Admission | None = None,
    body_limit: int = BODY_LIMIT,
    body_values: int = BODY_VALUES,
) -> APIRouter:
    """Return routes that answer in the wire formats of OpenAI and Anthropic.

    Args:
        client: answers the requests. Whoever made it closes it.
        admission: API keys and limits; by default no key is needed, and nothing is limited.
        body_limit: the largest body of a request in bytes; a larger one is refused with 413. The
            default is Anthropic's: agents send all images of their session with each request.
        body_values: the most JSON values and names in a body, in place of those of `install`.
    """
    admission = admission or Admission()
    admit = admission.admit
    chat, responses, anthropic = OpenAIChat(), OpenAIResponses(), AnthropicMessages()
    counting = AnthropicTokenCount()
    hop = Hop()
    limits = BodyLimits(body_limit, body_values)
    kept = Responses(responses, client, admission, hop, limits)
    routes = APIRouter(tags=["LLM"])

    async def parsed(wire: ModelFormat, request: Request) -> WireRequest:
        headers = hop.passed(request.headers)
        body, is_large = await read_body(request, limits)
        return await off_loop(is_large, parse_request, wire, body, headers, is_large)

    def complete(wire: ModelFormat, request: Request) -> Response:
        async def respond(request_id: str) -> Response:
            return completion(wire, client, await parsed(wire, request), request_id)

        return WireResponse(wire, request, admit, respond)

    @routes.post(
        "/v1/chat/completions",
        summary="OpenAI's chat completions",
        **_documented(["model", "messages"], chat.error(_EXAMPLE, "req_0"), streams=True),
    )
    async def chat_completions(request: Request) -> Response:
        return complete(chat, request)

    @routes.post(
        "/v1/responses",
        summary="OpenAI's responses",
        **_documented(["model", "input"], responses.error(_EXAMPLE, "req_0"), streams=True),
    )
    async def create_response(request: Request) -> Response:
        return kept.create(request)

    @routes.post(
        "/v1/responses/input_tokens",
        summary="OpenAI's token count",
        **_documented(["input"], responses.error(_EXAMPLE, "req_0"), streams=False),
    )
    async def count_input_tokens(request: Request) -> Response:
        return kept.count(request)

    kept.add_to(routes)

    @routes.post(
        "/v1/messages",
        summary="Anthropic's messages",
        **_documented(
            ["model", "max_tokens", "messages"], anthropic.error(_EXAMPLE, "req_0"), streams=True
        ),
    )
    async def messages(request: Request) -> Response:
        return complete(anthropic, request)

    @routes.post(
        "/v1/messages/count_tokens",
        summary="Anthropic's token count",
        **_documented(["model", "messages"], anthropic.error(_EXAMPLE, "req_0"), streams=False),
    )
    async def count_tokens(request: Request) -> Response:
        async def respond(request_id: str) -> Response:
            counted = (await parsed(counting, request)).chat
            if counted.origin and counted.origin.problem and not client.forwards(counted):
                raise counted.origin.problem
            tokens = await client.provider.count_tokens(counted)
            return json_response(anthropic, request_id, {"input_tokens": tokens})

        return WireResponse(anthropic, request, admit, respond)

    def listed(request: Request, body_of: Callable[[ModelList], dict[str, Any]]) -> Response:
        wire = wire_of(request)

        async def respond(request_id: str) -> Response:
            body = body_of(await ModelList.of(client.provider, wire.dialect))
            return json_response(wire, request_id, body)

        return WireResponse(wire, request, admit, respond)

    @routes.get("/v1/models", summary="The available models", response_model=dict[str, Any])
    async def models(request: Request) -> Response:
        return listed(request, ModelList.body)

    @routes.get(
        f"/v1/models/{{model:{WHOLE_PATH}}}",
        summary="An available model",
        response_model=dict[str, Any],
        responses={404: {"description": _REFUSALS[404]}},
    )
    async def model(request: Request, model: str) -> Response:
        return listed(request, lambda models: models.one(model))

    def wire_of(request: Request) -> ModelFormat:
        by_anthropic = "anthropic-version" in request.headers or "/v1/messages" in request.url.path
        return anthropic if by_anthropic else chat

    def unknown(request: Request) -> Response:
        async def respond(_: str) -> Response:
            raise problem_of_path(routes, request)

        return WireResponse(wire_of(request), request, admit, respond)

    refuse_websocket(routes, "/v1/responses", dumps(responses.error(NO_WEBSOCKET, "req_0")))
    add_fallback(routes, unknown)
    return routes


def _text_or(part: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a text or a list of parts; generators know no lists of types."""
    return {"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": part}]}


def _documented(
    required: list[str], error_example: dict[str, Any], *, streams: bool
) -> dict[str, Any]:
    """Return the OpenAPI entries of a route: required fields, both modes, and the refusals."""
    message = {
        "type": "object",
        "required": ["role", "content"],
        "properties": {"role": {"type": "string"}, "content": _text_or({"type": "object"})},
    }
    types: dict[str, Any] = {
        "model": {"type": "string", "minLength": 1},
        "max_tokens": {"type": "integer", "minimum": 1},
        "messages": {"type": "array", "minItems": 1, "items": message},
        "input": _text_or(message),
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
