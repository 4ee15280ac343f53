"""An app whose source gives an item when the test allows it, and reports when it is closed."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse

import dual_mode_streaming
from dual_mode_streaming import dual_mode, install

MODULE = Path(dual_mode_streaming.__file__).parent / "static" / "dual-mode.js"


class GatedApp:
    """`items()` is the source, in any event loop; `app` serves it at `/data` and `/chat`."""

    def __init__(self) -> None:
        self.url = ""
        self.app = FastAPI()
        install(self.app, store="memory")
        self.app.get("/dual-mode.js")(lambda: FileResponse(MODULE))
        self.app.get("/data")(dual_mode(self.items))
        self.app.post("/chat")(dual_mode(record=True)(self.words))
        self.begin()

    def begin(self) -> None:
        """Reset everything for the next test; a source that still runs is ignored."""
        self.total = 3
        self.failure: Exception | None = None  # after an item
        self.closed = threading.Event()
        self._allowed = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news: asyncio.Event

    async def items(self) -> AsyncGenerator[dict[str, str | int], None]:
        closed = self.closed
        news = self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        try:
            for index in range(self.total):
                while self._allowed <= index:
                    news.clear()
                    await news.wait()
                yield {"index": index, "message": f"item {index}"}
                if self.failure is not None:
                    raise self.failure
        finally:
            closed.set()

    async def words(self) -> AsyncIterator[dict[str, dict[str, str]]]:
        async with contextlib.aclosing(self.items()) as items:
            async for item in items:
                yield {"text_delta": {"content": f"{item['message']}, "}}

    def allow(self, count: int = 1) -> None:
        """Allow `count` more items."""
        self._allowed += count
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # that loop is over
                self._loop.call_soon_threadsafe(self._news.set)

    def closes(self) -> bool:
        """Wait until the source is closed, at most 20 s; return whether it is."""
        return self.closed.wait(60)

    def closes_while_it_gives(self) -> bool:
        """The same while items are sent: some servers notice a disconnect only when they write."""
        deadline = time.monotonic() + 60
        while not self.closed.wait(0.02):
            if time.monotonic() > deadline:
                return False
            self.allow()
        return True
