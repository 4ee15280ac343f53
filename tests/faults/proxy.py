"""A proxy between one worker and its Redis, which drops connections or holds back what is sent."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator


class Proxy:
    """In a thread of its own: a worker can start while the event loop of a test waits for it."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.port = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self._thread.start()
        self._ready.wait()

    async def _run(self) -> None:
        self._flowing, self._ended = asyncio.Event(), asyncio.Event()
        self._flowing.set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._ended.wait()
        server.close()
        self._drop()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, back}
        self._open |= both
        try:
            await asyncio.gather(self._carry(reader, back), self._carry(there, writer))
        except OSError:
            pass
        finally:
            for each in both:
                each.transport.abort()
            self._open -= both

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()
        writer.transport.abort()

    def drop(self) -> None:
        """Reset all connections."""
        self._loop.call_soon_threadsafe(self._drop)

    def _drop(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    @contextlib.contextmanager
    def partition(self) -> Iterator[None]:
        """Let nothing through in this context, in either direction; nobody is told."""
        self._loop.call_soon_threadsafe(self._flowing.clear)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._flowing.set)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._loop.close()
