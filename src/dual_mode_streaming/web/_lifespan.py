"""What of ours lives as long as the app does: its recordings, its limits, its care for signals."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import anyio
from starlette.applications import Starlette

from dual_mode_streaming.web._drain import draining_on_signals
from dual_mode_streaming.web._request_state import Lifecycle
from dual_mode_streaming.web.recorded._registry import AppRecordings

__all__ = ["live_with"]


def live_with(
    app: Starlette, lifecycle: Lifecycle, recordings: AppRecordings, drain_delay: float | None
) -> None:
    """Let them begin after the app's own lifespan has, and end before it; no delay: no signals."""
    app.state.dual_mode_recordings = recordings
    inner = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(of: Any) -> AsyncIterator[Any]:
        async with inner(of) as state:
            async with contextlib.AsyncExitStack() as stack:
                stack.push_async_callback(lifecycle.admission.aclose)
                stack.push_async_callback(recordings.aclose)
                with anyio.CancelScope():  # the first loads the backend, which takes 100 ms: now,
                    await recordings.open()  # and not when the first reader leaves
                if drain_delay is not None:
                    stack.enter_context(draining_on_signals(lifecycle, drain_delay))
                yield state

    app.router.lifespan_context = lifespan
