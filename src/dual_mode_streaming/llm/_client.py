"""The client: one async generator of typed events, whatever the provider, streamed or not.

It retries until the first event is there, and never after; every way out closes the connection to
the provider.
"""

import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import stamina

from dual_mode_streaming.llm._events import EventType, StreamEvent, Usage
from dual_mode_streaming.llm._patience import Patience
from dual_mode_streaming.llm._provider import Provider, ProviderError
from dual_mode_streaming.llm._requests import ChatMessage, ChatRequest
from dual_mode_streaming.llm.simulator._tokens import count_text

__all__ = ["LLMClient", "Spent"]

logger = logging.getLogger("dual_mode_streaming")

Messages = str | Iterable[ChatMessage | Mapping[str, Any]] | ChatRequest


@dataclass
class Spent:
    """What one call came to; told when it ends, in whatever way.

    `outcome` is a finish reason, an error type, or "abandoned" when the caller left. The tokens of
    an answer that is not whole are estimated from what was seen of it.
    """

    provider: str
    model: str
    outcome: str = "abandoned"
    usage: Usage = field(default_factory=Usage)
    attempts: int = 0
    seconds: float = 0.0


class LLMClient:
    """Asks a provider, and tells what it says as it comes.

    Args:
        provider: who answers; by the settings if None (see `provider_by_settings`).
        attempts: how often a request is tried, until the first event of an answer. Retried are rate
            limits, overload, server errors, timeouts and lost connections, after a pause that
            doubles from 0.5 s and varies, or that the provider asks for.
        retry_seconds: no attempt starts later than so many seconds after the first.
        max_retry_after: a provider that asks for a longer pause than this is not asked again.
        first_timeout: seconds to the first event; also for a whole answer that is not streamed.
        idle_timeout: seconds between two events.
        total_timeout: seconds for all of it; None is no limit.
        on_end: called with the `Spent` of each call when it ends; it is logged as well.
    """

    def __init__(
        self,
        provider: Provider | None = None,
        *,
        attempts: int = 4,
        retry_seconds: float = 60,
        max_retry_after: float = 30,
        first_timeout: float = 120,
        idle_timeout: float = 60,
        total_timeout: float | None = None,
        on_end: Callable[[Spent], None] | None = None,
    ) -> None:
        if provider is None:
            from dual_mode_streaming.llm._factory import provider_by_settings

            provider = provider_by_settings()
        self.provider = provider
        self._attempts = attempts
        self._retry_seconds = retry_seconds
        self._max_retry_after = max_retry_after
        self._first_timeout = first_timeout
        self._idle_timeout = idle_timeout
        self._total_timeout = total_timeout
        self._on_end = on_end

    async def chat_completion(
        self, messages: Messages, stream: bool = True, **options: Any
    ) -> AsyncGenerator[StreamEvent, None]:
        """The answer: deltas and MESSAGE_COMPLETE, or ERROR; with `stream=False` just the last.

        `messages` are ChatMessages, mappings, one string, or a whole ChatRequest; `options` are its
        other fields (model, max_tokens, tools …). A failure is not raised but the last event, which
        holds what was said before.

        Close the generator (or read it to its end): that closes the connection to the provider.
        Raises ValueError for a request that makes no sense.
        """
        request = self._request(messages, options)
        spent = Spent(self.provider.name, request.model or self.provider.default_model)
        start = time.monotonic()
        said: list[str] = []
        thought: list[str] = []  # or made an argument of
        try:
            async with aclosing(self._attempt(request, stream, spent, start)) as events:
                async for event in events:
                    if event.text_delta is not None:
                        said.append(event.text_delta.content)
                    elif event.is_final:
                        spent.outcome = event.finish_reason or event.error_type or "error"
                        spent.usage = event.usage or spent.usage
                    elif event.thinking_delta is not None:
                        thought.append(event.thinking_delta.content)
                    elif event.tool_call is not None:
                        thought.append(event.tool_call.arguments or "")
                    yield event
        except ProviderError as error:
            partial = "".join(said)
            spent.outcome = error.error_type
            yield StreamEvent(
                type=EventType.ERROR,
                error=str(error),
                error_type=error.error_type,
                status=error.status,
                retry_after=error.retry_after,
                partial=partial,
                attempt=spent.attempts,
                usage=Usage(output_tokens=count_text(partial)) if partial else None,
            )
        finally:
            spent.seconds = time.monotonic() - start
            if not spent.usage.output_tokens:  # nobody has told, so it is what was seen
                began = said or thought or spent.outcome == "abandoned"
                spent.usage = Usage(
                    input_tokens=self.provider.estimate_tokens(request) if began else 0,
                    output_tokens=count_text("".join(said)) + count_text("".join(thought)),
                )
            self._tell(spent)

    async def aclose(self) -> None:
        """Let go of the provider's connections."""
        await self.provider.aclose()

    def _request(self, messages: Messages, options: dict[str, Any]) -> ChatRequest:
        if isinstance(messages, ChatRequest):
            return messages.model_copy(update=options) if options else messages
        given = messages if isinstance(messages, str) else tuple(messages)
        return ChatRequest.model_validate({"messages": given, **options})

    async def _attempt(
        self, request: ChatRequest, stream: bool, spent: Spent, start: float
    ) -> AsyncGenerator[StreamEvent, None]:
        """The events of the first attempt that gives one. Raises ProviderError."""
        async for attempt in stamina.retry_context(
            on=self._pause_after,
            attempts=self._attempts,
            timeout=min(self._retry_seconds, self._total_timeout or self._retry_seconds),
            wait_initial=0.5,
            wait_max=20,
        ):
            with attempt:
                spent.attempts = attempt.num
                events = self.provider.stream(request) if stream else self._whole(request)
                left = None
                if self._total_timeout is not None:
                    left = self._total_timeout - (time.monotonic() - start)
                patience = Patience(first=self._first_timeout, idle=self._idle_timeout, total=left)
                try:
                    event = await patience.next(events)
                except BaseException:
                    patience.close()
                    await events.aclose()
                    raise
        try:
            yield event
            while not event.is_final:
                event = await patience.next(events)
                yield event
        finally:
            patience.close()
            await events.aclose()

    async def _whole(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        yield await self.provider.complete(request)

    def _pause_after(self, error: Exception) -> bool | float:
        """Whether to try again, and after what pause, if the provider says so."""
        if not isinstance(error, ProviderError) or not error.is_retryable:
            return False
        if error.retry_after is None:
            return True
        return error.retry_after if error.retry_after <= self._max_retry_after else False

    def _tell(self, spent: Spent) -> None:
        logger.info(
            "llm %s %s: %s, %d tokens in, %d out, %d attempts, %.3f s",
            spent.provider,
            spent.model,
            spent.outcome,
            spent.usage.input_tokens,
            spent.usage.output_tokens,
            spent.attempts,
            spent.seconds,
        )
        if self._on_end is not None:
            self._on_end(spent)
