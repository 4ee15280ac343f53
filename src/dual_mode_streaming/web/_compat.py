"""FastAPI and server compatibility: event class, dependency stack, abort of a connection."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

from fastapi.sse import ServerSentEvent as FastAPIServerSentEvent
from pydantic import RootModel
from starlette.types import Scope

from dual_mode_streaming.errors import BrokenTransfer
from dual_mode_streaming.running.owner import End, logger
from dual_mode_streaming.sse import ServerSentEvent


def _from_fastapi(event: FastAPIServerSentEvent) -> ServerSentEvent:
    """Convert FastAPI's event. Its `data` is always JSON, its `raw_data` is sent as it is."""
    data = event.data if event.raw_data is None else event.raw_data
    if isinstance(event.data, str):
        data = RootModel[str](event.data)  # so that the str is sent as JSON, in quotes
    return ServerSentEvent(
        data=data, event=event.event, id=event.id, retry=event.retry, comment=event.comment
    )


EVENT_TYPES: Final[Mapping[type, Callable[[Any], ServerSentEvent]]] = {
    FastAPIServerSentEvent: _from_fastapi
}


async def fail_dependencies(scope: Scope, failure: BaseException) -> None:
    """Raise the failure in FastAPI's dependencies with `yield`, so that a transaction rolls back.

    The client has received the failure in the stream. The response does not raise it, since the
    server would log it a second time.
    """
    stack = scope.get("fastapi_inner_astack")
    if isinstance(stack, AsyncExitStack):
        try:
            await stack.__aexit__(type(failure), failure, failure.__traceback__)
        except BaseException as raised:
            if raised is not failure:
                raise


async def abort(scope: Scope) -> None:
    """Abort the connection of a client that does not read.

    `dual-mode serve` has a scope extension for it; ASGI itself has none.

    Raises:
        BrokenTransfer: the server has no such extension.
    """
    aborts = (scope.get("extensions") or {}).get("dual_mode.abort")
    if aborts is None:
        raise BrokenTransfer(End.STALLED.value)
    logger.info("%s: %s; the connection is aborted", scope["path"], End.STALLED.value)
    aborts()
    await asyncio.sleep(0)  # the server notices it before the response returns
