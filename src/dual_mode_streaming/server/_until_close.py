"""Answers to HTTP/1.0, which nginx speaks unless told otherwise."""

from typing import Any

from starlette.types import Message, Send

__all__ = ["UntilClose"]


class UntilClose:
    """`send` for a client of HTTP/1.0, which knows no chunks: what has no length ends as the
    connection does. uvicorn sends it chunks, against RFC 9112, 6.1."""

    def __init__(self, cycle: Any, send: Send) -> None:
        self._cycle = cycle
        self._send = send
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            names = [name.lower() for name, _ in message.get("headers", ())]
            if b"content-length" not in names:
                self.begun = True
                self._cycle.chunked_encoding = False
        elif self.begun:
            self._cycle.expected_content_length = len(message.get("body", b""))
        await self._send(message)
