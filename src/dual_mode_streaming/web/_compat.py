"""What we know of others: FastAPI's event class, the dependencies that it keeps open, and how our
server aborts a connection."""

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

__all__ = ["EVENT_TYPES", "abort", "tell_dependencies"]


def _from_fastapi(event: FastAPIServerSentEvent) -> ServerSentEvent:
    """FastAPI's event as ours: its `data` is always JSON, its `raw_data` goes out as it is."""
    data = event.data if event.raw_data is None else event.raw_data
    if isinstance(event.data, str):
        data = RootModel[str](event.data)  # not a str to us, so it goes out as JSON, in quotes
    return ServerSentEvent(
        data=data, event=event.event, id=event.id, retry=event.retry, comment=event.comment
    )


EVENT_TYPES: Final[Mapping[type, Callable[[Any], ServerSentEvent]]] = {
    FastAPIServerSentEvent: _from_fastapi
}


async def tell_dependencies(scope: Scope, failure: BaseException) -> None:
    """Let FastAPI's yield-dependencies exit with the failure, so that a transaction rolls back.

    The failure was told to the reader in the stream. Raised out of the response it would also
    become a second, useless error in the server's log, so it ends here.
    """
    stack = scope.get("fastapi_inner_astack")
    if isinstance(stack, AsyncExitStack):
        try:
            await stack.__aexit__(type(failure), failure, failure.__traceback__)
        except BaseException as raised:
            if raised is not failure:
                raise


async def abort(scope: Scope) -> None:
    """Close the connection of a reader that takes nothing, or break the response trying."""
    aborts = scope.get("extensions", {}).get("dual_mode.abort")
    if aborts is None:
        raise BrokenTransfer(End.STALLED.value)
    logger.info("%s: %s; the connection is aborted", scope["path"], End.STALLED.value)
    aborts()
    await asyncio.sleep(0)  # the server hears of it before it hears that we have returned
