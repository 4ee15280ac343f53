"""A client on a raw socket that can stop reading and abort the connection."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from urllib.parse import urlsplit


class RawClient:
    """One HTTP request on its own connection, read only as far as the test asks.

    async with RawClient.get(url) as client:
        await client.until(b"data: ")  # reads up to there, then stalls
        client.abort()                 # the server sees a reset
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
        """Connect and send a GET request. The connection is closed at the end of the block.

        Args:
            url: what to request, with `http://`.
            accept: the Accept header.
            headers: further headers.
            receive_buffer: bytes that the socket holds unread; a small value stalls the server
                sooner.
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
        """Read until `text` has been received. Return everything received so far.

        Raises:
            AssertionError: the server closed the connection before.
        """
        while text not in self.received:
            chunk = await self._reader.read(1024)
            if not chunk:
                raise AssertionError(
                    f"the connection was closed before {text!r}; received {self.received!r}"
                )
            self.received += chunk
        return self.received

    async def rest(self) -> bytes:
        """Read until the server closes the connection. Return everything received so far.

        Raises:
            ConnectionResetError: the server aborted the connection.
        """
        self.received += await self._reader.read(-1)
        return self.received

    def abort(self) -> None:
        """Close at once with a reset (RST); unread data is discarded."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
