"""The provider for OpenAI's APIs: OpenAI, Ollama, vLLM and others, by the SDK's client."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import urlsplit

import openai

from dual_mode_streaming.llm._events import StreamEvent
from dual_mode_streaming.llm._forwarding import Answer
from dual_mode_streaming.llm._off_loop import off_loop
from dual_mode_streaming.llm._provider import ProviderError
from dual_mode_streaming.llm._readers import ChatReader, ResponsesReader
from dual_mode_streaming.llm._requests import ChatRequest
from dual_mode_streaming.llm.providers._chat_body import chat_body
from dual_mode_streaming.llm.providers._failures import as_provider_errors
from dual_mode_streaming.llm.providers._refusals import refusal_of
from dual_mode_streaming.llm.providers._upstream import Upstream
from dual_mode_streaming.llm.simulator._tokens import count_texts

_URL: Final = "https://api.openai.com/v1"
_CHAT: Final = "/chat/completions"
_RESPONSES: Final = "/responses"
_COUNT: Final = "/responses/input_tokens"
_NOT_THERE: Final = (404, 405, 501)
_WITH_USAGE: Final = {"stream": True, "stream_options": {"include_usage": True}}


class OpenAIProvider:
    """A provider that calls `api.openai.com`, or a compatible server at `base_url`.

    It forwards requests in the wire formats of chat completions and of responses; the latter as
    chat completions, if the server turns out to have no responses.

    Args:
        api_key: the key; local servers usually accept any.
        model: the model of a request that names none.
        base_url: the URL of the API; OpenAI's if None. Variables of the SDK do not change it.
        connect_timeout: seconds to connect; `LLMClient` has the other timeouts.
    """

    name = "openai"

    def __init__(
        self,
        api_key: str,
        *,
        model: str | None = None,
        base_url: str | None = None,
        connect_timeout: float = 5,
    ) -> None:
        self.default_model = model or "gpt-5.4-mini"
        timeout = openai.Timeout(None, connect=connect_timeout)
        self._sdk: Any = openai.AsyncOpenAI(
            api_key=api_key, base_url=base_url or _URL, max_retries=0, timeout=timeout
        )
        # What the SDK has read in the environment of the process.
        self._sdk.organization = self._sdk.project = self._sdk.admin_api_key = None
        self._sdk._custom_headers = {}
        self._upstream = Upstream(openai, self._sdk)
        host = urlsplit(base_url or _URL).hostname or ""
        is_openai = host.endswith(("openai.com", "openai.azure.com"))
        self._limit = "max_completion_tokens" if is_openai else "max_tokens"
        self._has_responses = True

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sdk.close()

    async def models(self) -> list[str]:
        """Return the models that the API lists."""
        with as_provider_errors(openai):
            return [str(model.id) async for model in self._sdk.models.list()]

    async def count_tokens(self, request: ChatRequest) -> int:
        """Let the API of responses count those of its own requests; else estimate."""
        origin = request.origin
        if origin is not None and origin.dialect == "openai-responses" and self._has_responses:
            try:
                return await self._upstream.input_tokens(_COUNT, origin.body, request)
            except ProviderError as error:
                if error.status not in _NOT_THERE or error.code == "model_not_found":
                    raise
            if origin.problem is not None:
                raise refusal_of(origin.problem)
        return self.estimate_tokens(request)

    def estimate_tokens(self, request: ChatRequest) -> int:
        """Estimate by the words of the messages."""
        return count_texts(message.text for message in request.messages)

    async def complete(self, request: ChatRequest) -> StreamEvent:
        """Request the answer in one piece."""
        return await self._upstream.complete(
            _CHAT, await self._body(request), request, ChatReader()
        )

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Request the answer as a stream."""
        body = (await self._body(request)) | _WITH_USAGE
        async with aclosing(self._upstream.stream(_CHAT, body, request, ChatReader())) as events:
            async for event in events:
                yield event

    def forwards(self, request: ChatRequest) -> bool:
        """Return whether the request has one of OpenAI's wire formats that the server has, too."""
        dialect = None if request.origin is None else request.origin.dialect
        return dialect == "openai-chat" or (dialect == "openai-responses" and self._has_responses)

    async def forward(self, request: ChatRequest, stream: bool) -> AsyncGenerator[Answer, None]:
        """Send the body as it came, and yield the answer as it comes."""
        origin = request.origin
        assert origin is not None
        is_chat = origin.dialect == "openai-chat"
        items = self._chat(request, stream) if is_chat else self._responses(request, stream)
        try:
            async with aclosing(items):
                async for item in items:
                    yield item
            return
        except ProviderError as error:
            if is_chat or error.status not in _NOT_THERE or error.code == "model_not_found":
                raise
        if (problem := origin.problem) is not None:  # chat completions cannot say it
            raise refusal_of(problem)
        translated = self.stream(request) if stream else self._whole(request)
        async with aclosing(translated) as events:
            async for event in events:
                self._has_responses = False  # the server has chat completions, and only those
                yield event

    async def _whole(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        yield await self.complete(request)

    async def _chat(self, request: ChatRequest, stream: bool) -> AsyncGenerator[Answer, None]:
        body = request.origin.body if request.origin is not None else {}
        if not stream:
            yield await self._upstream.forward_whole(_CHAT, body, request, ChatReader())
            return
        given = body.get("stream_options")
        options = given if isinstance(given, dict) else {}
        body = {**body, "stream_options": {**options, "include_usage": True}}
        hides_usage = options.get("include_usage") is not True
        items = self._upstream.forward_stream(
            _CHAT, body, request, ChatReader(), hides_usage=hides_usage
        )
        async with aclosing(items):
            async for item in items:
                yield item

    async def _responses(self, request: ChatRequest, stream: bool) -> AsyncGenerator[Answer, None]:
        body = request.origin.body if request.origin is not None else {}
        reader = ResponsesReader()
        if not stream:
            yield await self._upstream.forward_whole(_RESPONSES, body, request, reader)
            return
        items = self._upstream.forward_stream(_RESPONSES, body, request, reader)
        async with aclosing(items):
            async for item in items:
                yield item

    async def _body(self, request: ChatRequest) -> dict[str, Any]:
        return await off_loop(
            request.is_large, chat_body, request, self.default_model, limit=self._limit
        )
