"""Failures of a provider as HTTP problems."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from dual_mode_streaming.errors import BrokenTransfer, Problem
from dual_mode_streaming.llm._client import LLMClient
from dual_mode_streaming.llm._events import ErrorType, EventType, StreamEvent
from dual_mode_streaming.llm._forwarding import Answer, Forwarded
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


def problem_of_provider(error: ProviderError, headers: Mapping[str, str] | None = None) -> Problem:
    """Return a provider's failure as the problem that this service answers with.

    Args:
        error: the failure. Its body, as it came, is the member `upstream`.
        headers: those of the provider's answer that are for the caller.
    """
    status = error.status
    if status is None or status == CUT or not 400 <= status <= 599:
        status = STATUS[error.error_type]
    code = error.code or ("model_not_found" if error.error_type == "not_found" else None)
    members = {} if error.body is None else {"upstream": error.body}
    return Problem(
        status,
        str(error),
        code=code,
        param=error.param,
        retry_after=error.retry_after,
        headers=headers,
        **members,
    )


async def answer_events(
    client: LLMClient,
    request: ChatRequest,
    *,
    stream: bool = True,
    headers: Mapping[str, str] | None = None,
) -> AsyncGenerator[Any, None]:
    """Yield the items of an answer, and raise its ERROR, so that it can have a status of its own.

    The items are events, or `Forwarded` where the client forwards the request.

    Raises:
        Problem: the provider failed; it has the headers that `headers` has then.
        BrokenTransfer: the simulator cut the connection after the first event.
    """
    if client.forwards(request):
        items: AsyncGenerator[Answer, None] = client.forward(request, stream)
    else:
        items = client.chat_completion(request, stream=stream)
    begun = False
    try:
        async for item in items:
            event: StreamEvent | None
            if isinstance(item, Forwarded):
                event = item.events[-1] if item.events else None
            else:
                event = item
            if event is not None and event.type is EventType.ERROR:
                if event.status == CUT and begun:
                    raise BrokenTransfer(event.error)
                error = ProviderError(
                    event.error or "",
                    event.error_type or "server",
                    status=event.status,
                    retry_after=event.retry_after,
                    code=event.code,
                    param=event.param,
                    body=item.data if isinstance(item, Forwarded) else None,
                )
                raise problem_of_provider(error, headers)
            begun = True
            yield item
    finally:
        await items.aclose()
