"""The service's memory: garbage is looked for seldom, and what a crowd leaves behind goes back."""

import asyncio
import contextlib
import ctypes
import gc
from collections.abc import AsyncIterator, Sized
from typing import Any, Final

__all__ = ["collect_seldom", "giving_back"]

_LOOK: Final = 2.0
"""How often it is looked whether a crowd has left, in seconds."""

_CROWD: Final = 100
"""So many streams have left if it was one: below, there is little to give back."""


def collect_seldom() -> None:
    """Let garbage collections hold up the open streams less often.

    What has been loaded stays, so none need look at it again. An open stream is some 300 objects
    that live for long and are freed without the collector: it need not look for them every 700.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 20)


@contextlib.asynccontextmanager
async def giving_back(streams: Sized) -> AsyncIterator[None]:
    """Give memory back to the system when a crowd of streams has left; where glibc is there.

    glibc keeps what was freed below something that is in use, which with buffers for thousands of
    readers may be most of the process. To give back 300 MB takes 30 ms, and so it is done after a
    crowd only.
    """
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is None:
        yield
        return

    async def look() -> None:
        most = 0
        while True:
            await asyncio.sleep(_LOOK)
            most = max(most, len(streams))
            if most - len(streams) >= max(_CROWD, most // 2):
                trim(0)
                most = len(streams)

    task = asyncio.create_task(look())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def _libc() -> Any:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows
        return None
