"""Where a chat's answers come from, as text: our service by our client, or an LLMClient itself."""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any
from uuid import uuid4

from dual_mode_streaming.client import AsyncDualModeClient, Reconnect
from dual_mode_streaming.errors import AnswerError, StreamTruncated
from dual_mode_streaming.llm import (
    EventType,
    LLMClient,
    LLMSettings,
    ProviderError,
    StreamEvent,
    provider_by_settings,
)

__all__ = ["from_llm", "from_service", "llm_client", "service_client"]

Said = Sequence[Mapping[str, str]]

_PACE = {"DUAL_MODE_LLM_FIRST": "0.3", "DUAL_MODE_LLM_RATE": "30", "DUAL_MODE_LLM_JITTER": "0.3"}
"""A simulated model speaks as the service's does, if nothing else is set."""


async def from_llm(client: LLMClient, messages: Said) -> AsyncGenerator[str, None]:
    """The text of a model's answer. Raises ProviderError."""
    async with contextlib.aclosing(client.chat_completion(messages)) as events:
        async for event in events:
            if event.text_delta is not None:
                yield event.text_delta.content
            elif event.type is EventType.ERROR:
                kind = event.error_type or "server"
                raise ProviderError(event.error or kind, kind, status=event.status)


async def from_service(client: AsyncDualModeClient, messages: Said) -> AsyncGenerator[str, None]:
    """The text of the service's answer, resumed if a connection breaks.

    The service is asked to begin and to say at once where the answer will be, so that it can be
    stopped there even before the model has said a word. Whoever closes this stops it there.
    Raises AnswerError.
    """
    headers = {"prefer": "respond-async", "idempotency-key": str(uuid4())}

    async def begin() -> str:
        body = {"messages": list(messages)}
        return f"/streams/{(await client.post('/chat', json=body, headers=headers))['stream']}"

    place = None
    try:
        place = await begin()
        async with client.stream(place, model=StreamEvent) as events:
            async for event in events:
                if event.data.text_delta is not None:
                    yield event.data.text_delta.content
    except (asyncio.CancelledError, GeneratorExit):
        with contextlib.suppress(AnswerError, TimeoutError):
            async with asyncio.timeout(3):
                await client.post(f"{place or await begin()}/cancel")
        raise
    if events.outcome != "done":
        raise StreamTruncated(f"the answer was {events.outcome} at the service")


def service_client(url: str, key: str | None = None) -> AsyncDualModeClient:
    """A client that gives up after some seconds: somebody is looking at it."""
    headers: dict[str, Any] = {"authorization": f"Bearer {key}"} if key else {}
    return AsyncDualModeClient(url, headers=headers, reconnect=Reconnect(attempts=3, delay=0.3))


def llm_client(environment: Mapping[str, str] = os.environ) -> LLMClient:
    """The client of the model that the `DUAL_MODE_LLM_*` variables name. Raises ValueError."""
    settings = LLMSettings.load({**_PACE, **environment})
    return LLMClient(provider_by_settings(settings, environment))
