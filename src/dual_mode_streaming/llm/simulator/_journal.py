"""The journal of the simulator: the requests it was given, the newest of them."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import pydantic_core

from dual_mode_streaming.llm._events import FrozenModel
from dual_mode_streaming.llm._requests import ChatRequest


class JournalEntry(FrozenModel):
    """A request that the simulator was given.

    Attributes:
        number: counts all requests, from 1.
        api: the wire format it came in; None if it was made by `LLMClient`.
        model: the name of the model.
        reply: the place in the script of the reply that it got; None if it was generated.
        body: the body as it came, or the `ChatRequest`.
    """

    number: int
    api: str | None
    model: str
    reply: int | None
    body: dict[str, Any]


class Journal:
    """Keeps the newest requests, within two bounds.

    Args:
        limit: the most requests; 0 for none.
        limit_bytes: the most bytes of all their bodies as JSON.
    """

    def __init__(self, limit: int = 100, *, limit_bytes: int = 16 * 1024 * 1024) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._entries: deque[tuple[JournalEntry, int]] = deque()
        self._bytes = 0
        self._count = 0

    def add(self, request: ChatRequest, reply: int | None) -> None:
        """Add a request, and forget the oldest ones that are too many."""
        self._count += 1
        if not self._limit:
            return
        origin = request.origin
        body = request.model_dump(mode="json") if origin is None else origin.body
        entry = JournalEntry(
            number=self._count,
            api=None if origin is None else origin.dialect,
            model=request.model,
            reply=reply,
            body=body,
        )
        size = len(pydantic_core.to_json(body))
        self._entries.append((entry, size))
        self._bytes += size
        while len(self._entries) > self._limit or self._bytes > self._limit_bytes:
            self._bytes -= self._entries.popleft()[1]

    def clear(self) -> None:
        """Forget all requests; the numbers go on."""
        self._entries.clear()
        self._bytes = 0

    def __iter__(self) -> Iterator[JournalEntry]:
        return iter([entry for entry, _ in self._entries])

    def __len__(self) -> int:
        return len(self._entries)
