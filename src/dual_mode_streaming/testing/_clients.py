"""Ill-behaved clients, on a raw socket: one that stops reading, one that aborts."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from urllib.parse import urlsplit

__all__ = ["RawClient"]


class RawClient:
    """One HTTP request over a socket of its own, read only as far as the test asks.

    async with RawClient.get(url) as client:
        await client.until(b"data: ")   # read that far, and no further: from now on it stalls
        client.abort()                  # the server sees a reset, not a goodbye
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.received = b""

    @classmethod
    @contextlib.asynccontextmanager
    async def get(
        cls,
        url: str,
        *,
        accept: str = "text/event-stream",
        headers: Mapping[str, str] | None = None,
        receive_buffer: int | None = None,
    ) -> AsyncIterator["RawClient"]:
        """Connect and send a GET; the connection is closed at the end of the block.

        `receive_buffer` bytes is what the socket holds unread; small ones stall the server sooner.
        """
        parts = urlsplit(url)
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(sock, (parts.hostname, parts.port))
            reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
        except BaseException:
            sock.close()
            raise
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        lines = [f"GET {target} HTTP/1.1", f"Host: {parts.netloc}", f"Accept: {accept}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        client = cls(reader, writer)
        try:
            yield client
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def until(self, text: bytes) -> bytes:
        """Read until `text` has come; gives all that has been received.

        Raises AssertionError if the server closes the connection before.
        """
        while text not in self.received:
            chunk = await self._reader.read(1024)
            if not chunk:
                raise AssertionError(f"{text!r} did not come, but {self.received!r} and the end")
            self.received += chunk
        return self.received

    async def rest(self) -> bytes:
        """Read until the server closes the connection; gives all that has been received.

        Raises ConnectionResetError if the server aborts it.
        """
        self.received += await self._reader.read(-1)
        return self.received

    def abort(self) -> None:
        """Leave at once, with a reset (RST): what was not read is thrown away."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
