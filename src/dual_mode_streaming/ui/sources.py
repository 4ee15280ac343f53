"""Answers as streams of text: from the service through our client, or from an LLMClient."""

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

Messages = Sequence[Mapping[str, str]]

_SIMULATOR = {
    "DUAL_MODE_LLM_FIRST": "0.3",
    "DUAL_MODE_LLM_RATE": "30",
    "DUAL_MODE_LLM_JITTER": "0.3",
}
"""The pace of the simulated model, as in the service, unless the environment sets it."""


async def from_llm(client: LLMClient, messages: Messages) -> AsyncGenerator[str, None]:
    """Yield the text of a model's answer.

    Raises:
        ProviderError: the provider failed.
    """
    async with contextlib.aclosing(client.chat_completion(messages)) as events:
        async for event in events:
            if event.text_delta is not None:
                yield event.text_delta.content
            elif event.type is EventType.ERROR:
                kind = event.error_type or "server"
                raise ProviderError(event.error or kind, kind, status=event.status)


async def from_service(
    client: AsyncDualModeClient, messages: Messages
) -> AsyncGenerator[str, None]:
    """Yield the text of the service's answer, and resume it if a connection breaks.

    The request asks for the URL of the recording at once (`Prefer: respond-async`, RFC 7240), so
    the answer can be stopped before its first word. Closing this generator cancels the recording.

    Raises:
        AnswerError: the service refused the request, or the answer failed.
    """
    headers = {"prefer": "respond-async", "idempotency-key": str(uuid4())}

    async def begin() -> str:
        body = {"messages": list(messages)}
        return f"/streams/{(await client.post('/chat', json=body, headers=headers))['stream']}"

    stream = None
    try:
        stream = await begin()
        async with client.stream(stream, model=StreamEvent) as events:
            async for event in events:
                if event.data.text_delta is not None:
                    yield event.data.text_delta.content
    except (asyncio.CancelledError, GeneratorExit):
        with contextlib.suppress(AnswerError, TimeoutError):
            async with asyncio.timeout(3):
                await client.post(f"{stream or await begin()}/cancel")
        raise
    if events.outcome != "done":
        raise StreamTruncated(f"the answer was {events.outcome} at the service")


def service_client(url: str, key: str | None = None) -> AsyncDualModeClient:
    """Return a client of the service that gives up reconnecting after about two seconds."""
    headers: dict[str, Any] = {"authorization": f"Bearer {key}"} if key else {}
    return AsyncDualModeClient(url, headers=headers, reconnect=Reconnect(attempts=3, delay=0.3))


def llm_client(environment: Mapping[str, str] = os.environ) -> LLMClient:
    """Return a client of the model that the `DUAL_MODE_LLM_*` variables name.

    Raises:
        ValueError: a variable has an invalid value.
    """
    settings = LLMSettings.load({**_SIMULATOR, **environment})
    return LLMClient(provider_by_settings(settings, environment))
