"""A wait within a request: it ends early at a drain, and when the client disconnects."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request

from dual_mode_streaming.limits import TooMany
from dual_mode_streaming.recordings import StreamGone
from dual_mode_streaming.running.owner import Owner
from dual_mode_streaming.web._body import share
from dual_mode_streaming.web._request_state import request_state


async def wait_while(request: Request, seconds: float, work: Coroutine[Any, Any, None]) -> None:
    """Run some work that waits for a stream, for at most `seconds`.

    The wait ends early when the server shuts down, the client disconnects, or the stream is gone.
    It counts as an open answer; if a limit leaves no slot for it, there is no wait.
    """
    state = request_state(request.scope)
    try:
        await state.admit(request.scope)
    except TooMany:
        work.close()
        return
    shared = state.receive or share(request, request.receive)
    waiting = Owner(seconds, shared.until_disconnect)

    async def bounded() -> None:
        try:
            async with asyncio.timeout(seconds):
                await work
        except (TimeoutError, StreamGone):
            pass
        except asyncio.CancelledError:
            if waiting.end is None:
                raise

    state.open(waiting)
    try:
        waiting.watch()
        await waiting.run(bounded())
    finally:
        state.close(waiting)
