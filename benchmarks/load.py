"""The load: connections that count the events of what comes, and parse none of them.

It runs in the process of the benchmark, not in the server's. An item's `"index"` is counted by
`bytes.count`, and where lateness is asked for the `"due"` of the first event of a chunk is read.
"""

import asyncio
import socket
import struct
import time
from typing import Any

__all__ = ["Reader", "connect"]

DUE = b'"due":'


class Reader(asyncio.Protocol):
    """One connection, and one request on it at a time."""

    def __init__(self, mark: bytes = b'"index"') -> None:
        self.mark = mark  # stands once in every event
        self.events = 0
        self.bytes = 0
        self.first = 0.0  # when the first event of the answer came
        self.begun = asyncio.Event()  # ... and that it has come
        self.late: list[float] | None = None  # how late each chunk was
        self.body = bytearray()  # of an answer with a length
        self.transport: asyncio.Transport
        self._done: asyncio.Future[None]
        self._tail = b""
        self._left: int | None = None
        self._in_head = True

    async def get(self, path: str, accept: str = "text/event-stream") -> None:
        """Ask, and return when the answer is over. Raises ConnectionError if it breaks."""
        self.ask(path, accept)
        await self._done

    def ask(self, path: str, accept: str = "text/event-stream") -> None:
        self._done = asyncio.get_running_loop().create_future()
        self._in_head, self._left, self._tail, self.first = True, None, b"", 0.0
        self.body.clear()
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"
        self.transport.write(head.encode())

    def vanish(self) -> None:
        """Reset the connection, as a host does that is switched off."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error or ConnectionResetError("the server closed"))
            self._done.exception()  # nobody need ask for it

    def data_received(self, data: bytes) -> None:
        self.bytes += len(data)
        if self._in_head:
            data = self._tail + data
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._tail = head
                return
            self._tail, self._in_head = b"", False
            if not head.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(head.decode())
            _, length, rest = head.lower().partition(b"content-length:")
            if length:
                self._left = int(rest.partition(b"\r")[0])
        if self._left is not None:
            self.body += data
            self._left -= len(data)
            if self._left == 0:
                self.events += self.body.count(self.mark)
                self._done.set_result(None)
            return
        whole = self._tail + data
        if count := whole.count(self.mark):
            self.events += count
            if not self.first:
                self.first = time.perf_counter()
                self.begun.set()
            if self.late is not None:
                begin = data.find(DUE) + len(DUE)
                if begin >= len(DUE) and (end := data.find(b",", begin)) > 0:
                    self.late.append(time.monotonic() - float(data[begin:end]))
        if whole.endswith(b"0\r\n\r\n"):
            self._done.set_result(None)
        self._tail = whole[1 - len(self.mark) :]  # less than a mark, so that none is counted twice


async def connect(port: int) -> Reader:
    """A connection to this machine's `port`."""
    _, reader = await asyncio.get_running_loop().create_connection(Reader, "127.0.0.1", port)
    return reader
