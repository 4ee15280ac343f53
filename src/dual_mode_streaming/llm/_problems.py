"""Failures of a provider as HTTP problems."""

from collections.abc import AsyncGenerator
from typing import Final

from dual_mode_streaming.errors import BrokenTransfer, Problem
from dual_mode_streaming.llm._client import LLMClient
from dual_mode_streaming.llm._events import ErrorType, EventType, StreamEvent
from dual_mode_streaming.llm._provider import CUT, ProviderError
from dual_mode_streaming.llm._requests import ChatRequest

STATUS: Final[dict[ErrorType, int]] = {
    "invalid_request": 400,
    "authentication": 401,
    "permission": 403,
    "not_found": 404,
    "too_large": 413,
    "rate_limit": 429,
    "server": 502,
    "overloaded": 529,
    "timeout": 504,
    "connection": 502,
    "stream_truncated": 502,
}
"""The status of each kind of failure, if the provider gave none."""


def problem_of_provider(error: ProviderError) -> Problem:
    """Return a provider's failure as the problem that this service answers with."""
    status = error.status
    if status is None or status == CUT:
        status = STATUS[error.error_type]
    code = "model_not_found" if error.error_type == "not_found" else None
    return Problem(status, str(error), code=code, retry_after=error.retry_after)


async def answer_events(
    client: LLMClient, request: ChatRequest, *, stream: bool = True
) -> AsyncGenerator[StreamEvent, None]:
    """Yield the events of an answer, and raise its ERROR, so that it can have a status of its own.

    Raises:
        Problem: the provider failed.
        BrokenTransfer: the simulator cut the connection after the first event.
    """
    events = client.chat_completion(request, stream=stream)
    begun = False
    try:
        async for event in events:
            if event.type is EventType.ERROR:
                if event.status == CUT and begun:
                    raise BrokenTransfer(event.error)
                raise problem_of_provider(
                    ProviderError(
                        event.error or "",
                        event.error_type or "server",
                        status=event.status,
                        retry_after=event.retry_after,
                    )
                )
            begun = True
            yield event
    finally:
        await events.aclose()
