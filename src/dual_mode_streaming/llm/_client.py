"""The client of the language models: one async generator of typed events for every provider.

A request is retried until its first event arrives, and never after that. The connection to the
provider is closed however the generator ends.
"""

import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, cast

import stamina

from dual_mode_streaming.llm._events import EventType, StreamEvent, Usage
from dual_mode_streaming.llm._forwarding import Answer, Forwarded, Forwarder
from dual_mode_streaming.llm._provider import Provider, ProviderError
from dual_mode_streaming.llm._requests import ChatMessage, ChatRequest
from dual_mode_streaming.llm.simulator._tokens import count_text
from dual_mode_streaming.streams import Stream, deadline, idle_timeout

logger = logging.getLogger("dual_mode_streaming")

Messages = str | Iterable[ChatMessage | Mapping[str, Any]] | ChatRequest


@dataclass
class Spent:
    """The cost of one call. It is reported when the call ends, however it ends.

    Attributes:
        provider: the provider's name.
        model: the model of the request, or the provider's default.
        outcome: a finish reason, an error type, or "abandoned" if the caller closed the generator.
        usage: the tokens as the provider counted them; estimated from the events that were received
            if the answer is incomplete.
        attempts: the number of attempts.
        seconds: the duration of the call.
    """

    provider: str
    model: str
    outcome: str = "abandoned"
    usage: Usage = field(default_factory=Usage)
    attempts: int = 0
    seconds: float = 0.0


class LLMClient:
    """A client for language models that yields the answer as typed events.

    Args:
        provider: where answers come from; `provider_by_settings()` if None.
        attempts: how often a request is tried until the first event of its answer arrives. Rate
            limits, overload, server errors, timeouts and lost connections are retried, after the
            pause that the provider asks for, or else one that doubles from 0.5 s, with jitter.
        retry_seconds: no attempt starts later than this many seconds after the first.
        max_retry_after: the longest pause in seconds to accept from a provider; if it asks for a
            longer one, the request fails.
        first_timeout: seconds to wait for the first event, or for a whole answer if not streamed.
        idle_timeout: seconds to wait for each further event.
        total_timeout: seconds for the whole call; None for no limit.
        on_end: called with the `Spent` of each call when it ends. It is also logged.
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

    def chat_completion(
        self, messages: Messages, stream: bool = True, **options: Any
    ) -> AsyncGenerator[StreamEvent, None]:
        """Yield the events of an answer: deltas, then MESSAGE_COMPLETE or ERROR.

        A failure is not raised: it is the last event, an ERROR with the text received before it.
        Close the generator or read it to its end; both close the connection to the provider.

        Args:
            messages: `ChatMessage`s, mappings, one string, or a whole `ChatRequest`.
            stream: whether to yield deltas; if False, only the last event is yielded.
            options: other fields of the `ChatRequest`: model, max_tokens, tools and so on.

        Raises:
            ValueError: the request is invalid.
        """
        request = self._request(messages, options)
        answer = self._answer(request, lambda: self._events(request, stream))
        return cast(AsyncGenerator[StreamEvent, None], answer)

    def forwards(self, request: ChatRequest) -> bool:
        """Return whether the request came in the wire format of its provider, which forwards it."""
        if request.origin is None or not isinstance(self.provider, Forwarder):
            return False
        return self.provider.forwards(request)

    def forward(self, request: ChatRequest, stream: bool) -> AsyncGenerator[Answer, None]:
        """Yield what the provider answers to a request in its own wire format, as it comes.

        The last item has an ERROR or a MESSAGE_COMPLETE among its events. If the provider turns
        out not to have that API, the items are events.
        """
        provider = cast(Forwarder, self.provider)
        return self._answer(request, lambda: provider.forward(request, stream), forwards=True)

    async def _answer(
        self,
        request: ChatRequest,
        events_of: Callable[[], AsyncGenerator[Answer, None]],
        *,
        forwards: bool = False,
    ) -> AsyncGenerator[Answer, None]:
        """Yield the items of an answer, the last with its end, and report what it cost."""
        spent = Spent(self.provider.name, request.model or self.provider.default_model)
        start = time.monotonic()
        text: list[str] = []
        other: list[str] = []  # thinking, and arguments of tool calls
        try:
            async with aclosing(self._attempt(events_of, spent, start)) as items:
                async for item in items:
                    for event in item.events if isinstance(item, Forwarded) else (item,):
                        if event.text_delta is not None:
                            text.append(event.text_delta.content)
                        elif event.is_final:
                            spent.outcome = event.finish_reason or event.error_type or "error"
                            spent.usage = event.usage or spent.usage
                        elif event.thinking_delta is not None:
                            other.append(event.thinking_delta.content)
                        elif event.tool_call is not None:
                            other.append(event.tool_call.arguments or "")
                    yield item
        except Exception as failure:
            error = _provider_error(failure)
            partial = "".join(text)
            spent.outcome = error.error_type
            event = StreamEvent(
                type=EventType.ERROR,
                error=str(error),
                error_type=error.error_type,
                status=error.status,
                retry_after=error.retry_after,
                code=error.code,
                param=error.param,
                partial=partial,
                attempt=spent.attempts,
                usage=Usage(output_tokens=count_text(partial)) if partial else None,
            )
            is_whole = forwards and error.body is not None
            yield Forwarded(error.body, (event,)) if is_whole else event
        finally:
            spent.seconds = time.monotonic() - start
            if not spent.usage.output_tokens:  # the provider reported none: estimate it
                began = text or other or spent.outcome == "abandoned"
                spent.usage = Usage(
                    input_tokens=self._estimate(request) if began else 0,
                    output_tokens=count_text("".join(text)) + count_text("".join(other)),
                )
            self._report(spent)

    async def aclose(self) -> None:
        """Close the provider's connections."""
        await self.provider.aclose()

    def _request(self, messages: Messages, options: dict[str, Any]) -> ChatRequest:
        if isinstance(messages, ChatRequest):
            made = messages.model_copy(update=options) if options else messages
            return made if made.origin is None else made.with_origin(made.origin.translated())
        given = messages if isinstance(messages, str) else tuple(messages)
        return ChatRequest.model_validate({"messages": given, **options})

    async def _attempt(
        self,
        events_of: Callable[[], AsyncGenerator[Answer, None]],
        spent: Spent,
        start: float,
    ) -> AsyncGenerator[Answer, None]:
        """Yield the items of the first attempt that has an event. Raises ProviderError."""
        async for attempt in stamina.retry_context(
            on=self._pause_after,
            attempts=self._attempts,
            timeout=min(self._retry_seconds, self._total_timeout or self._retry_seconds),
            wait_initial=0.5,
            wait_max=20,
        ):
            with attempt:
                spent.attempts = attempt.num
                items = self._limited(events_of(), start)
                first = [await anext(items)]
                while isinstance(first[-1], Forwarded) and not first[-1].events:
                    first.append(await anext(items))
        async with aclosing(items):
            for item in first:
                yield item
            async for item in items:
                yield item

    async def _limited(
        self, items: AsyncGenerator[Answer, None], start: float
    ) -> AsyncGenerator[Answer, None]:
        """Yield the items of one attempt in time, the final one included. Raises ProviderError."""
        limited: Stream[Answer] = idle_timeout(items, self._idle_timeout, first=self._first_timeout)
        if self._total_timeout is not None:
            limited = deadline(
                limited, max(0.001, self._total_timeout - (time.monotonic() - start))
            )
        try:
            async with limited:
                async for item in limited:
                    yield item
                    if item.is_final:
                        return
        except TimeoutError as error:
            raise ProviderError(str(error), "timeout") from error
        raise ProviderError("the answer ended without its final event", "stream_truncated")

    def _events(self, request: ChatRequest, stream: bool) -> AsyncGenerator[StreamEvent, None]:
        return self.provider.stream(request) if stream else self._whole(request)

    async def _whole(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        yield await self.provider.complete(request)

    def _pause_after(self, error: Exception) -> bool | float:
        """Return whether to retry after `error`, or the pause in seconds the provider wants."""
        if not isinstance(error, ProviderError) or not error.is_retryable:
            return False
        if error.retry_after is None:
            return True
        return error.retry_after if error.retry_after <= self._max_retry_after else False

    def _estimate(self, request: ChatRequest) -> int:
        try:
            return self.provider.estimate_tokens(request)
        except Exception as error:
            logger.error("llm: the provider could not estimate tokens", exc_info=error)
            return 0

    def _report(self, spent: Spent) -> None:
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


def _provider_error(failure: Exception) -> ProviderError:
    """Return the failure to report; a mistake of ours or of a provider's code is logged."""
    if isinstance(failure, ProviderError):
        return failure
    logger.error("llm: the provider's code failed", exc_info=failure)
    return ProviderError("this service failed to answer", "server", status=500)
