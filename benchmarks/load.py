"""The readers of a benchmark: connections that count the events that come, and parse none of them.

They run in the process of the benchmark, not in the server's. Events are counted by a mark that
stands once in each; where lateness is wanted, the `"due"` of the first event of a part is read.
"""

import asyncio
import socket
import struct
import time

from dual_mode_streaming.commands._load_connection import LoadConnection

__all__ = ["Reader", "connect"]

DUE = b'"due":'


class Reader(LoadConnection):
    """One connection, and one request on it at a time.

    Attributes:
        mark: stands once in every event.
        events: the number of events.
        first: the time at which the first event of the answer came.
        begun: set when it has come.
        late: how late each part was, in seconds; None not to measure it.
        body: the body of an answer with a length.
    """

    def __init__(self, mark: bytes = b'"index"') -> None:
        super().__init__()
        self.mark = mark
        self.events = 0
        self.first = 0.0
        self.begun = asyncio.Event()
        self.late: list[float] | None = None
        self.body = bytearray()
        self._tail = b""

    def get(self, path: str, accept: str = "text/event-stream") -> asyncio.Future[None]:
        """Send a request, and return a future of the end of its answer.

        Its exception is a ConnectionError if the connection breaks.
        """
        self.first, self._tail = 0.0, b""
        self.body.clear()
        return self.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n".encode())

    def vanish(self) -> None:
        """Reset the connection, as when a host is switched off."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def head_received(self) -> None:
        if self.status != 200:
            self.fail(RuntimeError(f"the server answered {self.status}: {self.headers}"))

    def body_received(self, data: bytes) -> None:
        if self.length is not None:
            self.body += data
        overlap = len(self.mark) - 1
        seam = self._tail + data[:overlap]  # where a mark may be cut in two
        if count := data.count(self.mark) + seam.count(self.mark):
            self.events += count
            if not self.first:
                self.first = time.perf_counter()
                self.begun.set()
            if self.late is not None:
                begin = data.find(DUE) + len(DUE)
                if begin >= len(DUE) and (end := data.find(b",", begin)) > 0:
                    self.late.append(time.monotonic() - float(data[begin:end]))
        self._tail = (self._tail + data[-overlap:])[-overlap:]


async def connect(port: int) -> Reader:
    """Return a connection to a port of this machine."""
    loop = asyncio.get_running_loop()
    _, reader = await loop.create_connection(Reader, "127.0.0.1", port)
    return reader
