"""What answers in `dual-mode chat`: a service, or a language model client in this process."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any, Final, Protocol

from dual_mode_streaming.commands._errors import ExitCode, code_of_status, needed
from dual_mode_streaming.commands._request_options import full_url

_STOP_TIMEOUT: Final = 5.0
"""Seconds for a server to stop an answer; then the connection is closed."""


class AnswerFailed(Exception):
    """The answer ended with an error."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code


class Backend(Protocol):
    """What answers a question."""

    def ask(self, question: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the events of the answer in the service's JSON form; raise on failure."""

    async def stop(self) -> None:
        """Stop the current answer; its events end."""

    async def aclose(self) -> None:
        """Close all connections."""


class RemoteBackend:
    """`POST /chat` of a service, which records the answer: `stop` cancels the recording."""

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
            raise AnswerFailed("the service stopped before the end of the answer", ExitCode.BROKEN)

    async def stop(self) -> None:
        events = self._events
        try:
            async with asyncio.timeout(_STOP_TIMEOUT):
                # The URL to cancel is known only when the response has begun.
                while events.location is None and events.outcome is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                if events.outcome is None:
                    await events.cancel()
        except Exception:
            await events.aclose()  # whatever went wrong, the answer must end here

    async def aclose(self) -> None:
        await self._client.aclose()


class LocalBackend:
    """An `LLMClient` with the settings of the environment; the simulator by default."""

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
                    code = ExitCode.BROKEN
                    if not begun and event.status is not None and event.status >= 400:
                        code = code_of_status(event.status)
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
