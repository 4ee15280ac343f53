"""Real servers that answer each request as the test wrote it: an ASGI app, and a plain socket."""

import asyncio
import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from dual_mode_streaming.sse import ServerSentEvent

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def frame(data: Any = None, event: str | None = None, id: str | None = None, **more: Any) -> bytes:
    return ServerSentEvent(data=data, event=event, id=id, **more).encode()


def items(*numbers: int, epoch: str = "e", generation: int = 1) -> list[bytes]:
    """Items of a recorded stream, their number both data and sequence."""
    return [frame(n, id=f"{epoch}.{generation}.{n}") for n in numbers]


DONE = frame('{"items":3}', "done", "e.1.end")


@dataclass
class Answer:
    """One answer: its head, its chunks, and then `then`.

    "end": the transfer ends in good order. "cut": without its final chunk. "hang": nothing more
    comes until the client has gone; "silent": nor does its head.
    """

    chunks: Sequence[bytes] = ()
    then: str = "end"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    media: str | None = "text/event-stream"


def page(status: int, body: Any = b"", media: str = "application/problem+json", **headers: str):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer([raw], status=status, headers=named, media=media)


@dataclass
class Asked:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Server:
    """The ASGI app; the last answer is given again and again."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[Answer] = []
        self.asked: list[Asked] = []
        self.cancels: list[Asked] = []
        self.hanging = asyncio.Event()  # a "hang" has been reached
        self.gone = asyncio.Event()  # and its client has left
        self.cancelled = asyncio.Event()

    def then(self, *answers: Answer) -> "Server":
        self.answers = list(answers)
        return self

    @property
    def cursors(self) -> list[str | None]:
        return [asked.headers.get("last-event-id") for asked in self.asked]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        asked = Asked(
            scope["method"],
            (scope["path"].encode() + b"?" + scope["query_string"]).decode().rstrip("?"),
            {name.decode(): value.decode() for name, value in scope["headers"]},
            (await receive()).get("body", b""),
        )
        if asked.target.endswith("/cancel"):
            self.cancels.append(asked)
            self.cancelled.set()
            answer = page(200, {"state": "cancelled"}, "application/json")
        else:
            self.asked.append(asked)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await self._answer(answer, receive, send)

    async def _answer(self, answer: Answer, receive: Any, send: Any) -> None:
        headers = answer.headers if answer.media is None else {"content-type": answer.media}
        headers = headers | answer.headers
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        if answer.then == "silent":
            return await self._hang(receive)
        await send({"type": "http.response.start", "status": answer.status, "headers": raw})
        for chunk in answer.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if answer.then == "cut":
            return  # uvicorn closes the connection without a final chunk
        if answer.then == "cancelled":
            await self.cancelled.wait()
            last = frame("{}", "cancelled", "e.1.9")
            await send({"type": "http.response.body", "body": last, "more_body": True})
        elif answer.then == "hang":
            return await self._hang(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _hang(self, receive: Any) -> None:
        self.hanging.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone.set()


class Switch:
    """The app of the running server: whatever server the test of now has."""

    def __init__(self) -> None:
        self.server: Any = None
        self.url = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            return await send({"type": "lifespan.shutdown.complete"})
        await self.server(scope, receive, send)


class Connection:
    """A connection to a `SocketServer`, after its request was received."""

    def __init__(self, connection: socket.socket, request: str) -> None:
        self.socket = connection
        self.request = request

    def send(self, *frames: bytes, head: bytes = HEAD) -> None:
        """Send the head of a stream, and chunks."""
        self.socket.sendall(head)
        self.chunks(*frames)

    def chunks(self, *frames: bytes) -> None:
        for frame in frames:
            self.socket.sendall(b"%x\r\n%s\r\n" % (len(frame), frame))

    def end(self) -> None:
        self.socket.sendall(b"0\r\n\r\n")

    def wait_until_gone(self) -> None:
        with contextlib.suppress(OSError):
            while self.socket.recv(65536):
                pass


@dataclass
class SocketServer:
    """A server whose answers are functions, one for each connection, which is closed afterwards."""

    listener: socket.socket
    url: str
    answers: list[Callable[[Connection], None]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            request = b""
            while not _is_whole(request):
                if not (more := connection.recv(65536)):
                    return
                request += more
            self.asked.append(request.decode())
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            answer(Connection(connection, request.decode()))


def _is_whole(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


@contextlib.contextmanager
def socket_server() -> Iterator[SocketServer]:
    """Run a `SocketServer` in threads."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = SocketServer(listener, f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
