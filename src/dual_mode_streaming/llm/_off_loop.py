"""What takes long with a large request is done in a thread, beside the event loop."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
Made = TypeVar("Made")


async def off_loop(
    is_large: bool, work: Callable[P, Made], *args: P.args, **kwargs: P.kwargs
) -> Made:
    """Return what `work` returns, called in a thread if it has something large to do."""
    if not is_large:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
