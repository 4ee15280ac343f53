"""What a client gives: an event with data of the caller's type, and the newest ones kept."""

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from dual_mode_streaming.errors import UnreadableAnswer

__all__ = ["Event", "Newest", "json_object", "reader"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Event(Generic[T]):
    """One event of a stream.

    data: of the model that was asked for; without one, the text as it came.
    event: its name; None where none was given (the standard calls it "message").
    id: the last event id in force, where the stream could go on; None if there never was one.
    """

    data: T
    event: str | None = None
    id: str | None = None


def reader(model: Any) -> Callable[[str], Any]:
    """What reads text as the model (any type that pydantic knows); None leaves the text.

    It raises UnreadableAnswer.
    """
    if model is None:
        return _as_it_is
    adapter = TypeAdapter[Any](model)

    def read(text: str) -> Any:
        try:
            return adapter.validate_json(text)
        except ValidationError as error:
            raise UnreadableAnswer("the data", text) from error

    return read


def _as_it_is(text: str) -> str:
    return text


def json_object(text: str | bytes) -> dict[str, Any]:
    """The JSON object that the text is, or an empty one."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


class Newest(Generic[T]):
    """The newest events, as many as fit into `limit` characters of data; for exceptions to carry.

    The last is kept even if it is larger; with a limit of 0, none is.
    """

    def __init__(self, limit: int) -> None:
        self.events: deque[Event[T]] = deque()
        self.count = 0
        self._limit = limit
        self._sizes: deque[int] = deque()
        self._size = 0

    def add(self, event: Event[T], size: int) -> None:
        """Count the event and keep it; `size` is that of its data in characters."""
        self.count += 1
        if self._limit == 0:
            return
        size += 100  # what an event costs that says nothing
        self.events.append(event)
        self._sizes.append(size)
        self._size += size
        while self._size > self._limit and len(self.events) > 1:
            self.events.popleft()
            self._size -= self._sizes.popleft()
