"""Who answers in `dual-mode chat`: a service, or a client of language models in this process."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any, Protocol

from dual_mode_streaming.commands._errors import Code, needed
from dual_mode_streaming.commands._request_options import full_url

__all__ = ["AnswerFailed", "Local", "Remote", "Speaker"]

PATIENCE = 5.0
"""Seconds that a server may take to stop an answer; then its connection is closed."""


class AnswerFailed(Exception):
    """The answer ended in an error."""

    def __init__(self, message: str, code: Code) -> None:
        super().__init__(message)
        self.code = code


class Speaker(Protocol):
    """Who answers."""

    def ask(self, question: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """The events of an answer, as the service's JSON has them; failures are raised."""

    async def stop(self) -> None:
        """Stop the answer that is being given: its events end."""

    async def aclose(self) -> None:
        """Let go of all connections."""


class Remote:
    """`POST /chat` of a service. The answer is recorded there, so stopping it is asked for."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        with needed("cli"):
            from dual_mode_streaming.client import AsyncDualModeClient
        url = full_url(url).rstrip("/")
        self._url = url if url.endswith("/chat") else f"{url}/chat"
        self._client = AsyncDualModeClient(headers=headers)
        self._events: Any = None

    async def ask(self, question: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        self._events = self._client.stream(
            self._url, model=dict[str, Any], method="POST", json=question, keep=0
        )
        async with self._events as events:
            async for event in events:
                yield event.data
        if events.outcome == "interrupted":
            raise AnswerFailed("the service went away before the end", Code.BROKEN)

    async def stop(self) -> None:
        events = self._events
        try:
            async with asyncio.timeout(PATIENCE):
                # Before the head of the answer nobody knows what is to be stopped.
                while events.location is None and events.outcome is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                if events.outcome is None:
                    await events.cancel()
        except Exception:
            # Whatever it was: the answer is not to go on here.
            await events.aclose()

    async def aclose(self) -> None:
        await self._client.aclose()


class Local:
    """An `LLMClient` by the settings of the environment: the simulator, if they name no other."""

    def __init__(self) -> None:
        with needed("llm"):
            from dual_mode_streaming.llm import LLMClient
        self._client = LLMClient()
        self._stopped: asyncio.Event | None = None

    async def ask(self, question: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        from dual_mode_streaming.llm import ChatRequest

        stopped = self._stopped = asyncio.Event()
        begun = False
        stop = asyncio.create_task(stopped.wait())
        events = self._client.chat_completion(ChatRequest.model_validate(question))
        try:
            while True:
                following = asyncio.ensure_future(anext(events, None))
                try:
                    await asyncio.wait({following, stop}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not following.done():
                        following.cancel()
                        with contextlib.suppress(asyncio.CancelledError):
                            await following
                if following.cancelled() or (event := following.result()) is None:
                    return
                if event.error is not None:
                    status = (event.status or 0) // 100 if not begun else 0
                    code = {4: Code.REFUSED, 5: Code.SERVER}.get(status, Code.BROKEN)
                    raise AnswerFailed(event.error, code)
                begun = True
                yield event.model_dump(mode="json", exclude_none=True)
        finally:
            stop.cancel()
            await events.aclose()

    async def stop(self) -> None:
        if self._stopped is not None:
            self._stopped.set()

    async def aclose(self) -> None:
        await self._client.aclose()
