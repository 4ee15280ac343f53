"""What a client gives: an event with data of the caller's type, and the newest ones kept."""

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from dual_mode_streaming.errors import UnreadableAnswer

T = TypeVar("T")

_OVERHEAD: Final = 100
"""The size, in characters, that an event without data counts for."""


@dataclass(frozen=True, slots=True)
class Event(Generic[T]):
    """One event of a stream.

    Attributes:
        data: the data as the model that was given; without a model, the text as it came.
        event: the name; None if there is none (WHATWG calls it "message").
        id: the last event ID in force, with which the stream can be resumed; None if there is none.
    """

    data: T
    event: str | None = None
    id: str | None = None


def reader(model: Any) -> Callable[[str], Any]:
    """Return a function that reads JSON text as the model, any type that pydantic knows.

    For the model None it returns the text itself. It raises UnreadableAnswer.
    """
    if model is None:
        return str
    adapter = TypeAdapter[Any](model)

    def read(text: str) -> Any:
        try:
            return adapter.validate_json(text)
        except ValidationError as error:
            raise UnreadableAnswer("the data", text) from error

    return read


def json_object(text: str | bytes) -> dict[str, Any]:
    """Return the JSON object in the text; an empty one if there is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


class Newest(Generic[T]):
    """The newest events, at most `limit` characters of data, for exceptions to carry.

    The last event is kept even if it is larger; with a limit of 0 none is kept.
    """

    def __init__(self, limit: int) -> None:
        self.events: deque[Event[T]] = deque()
        self.count = 0
        self._limit = limit
        self._sizes: deque[int] = deque()
        self._size = 0

    def add(self, event: Event[T], size: int) -> None:
        """Count the event and keep it; `size` is the length of its data in characters."""
        self.count += 1
        if self._limit == 0:
            return
        self.events.append(event)
        self._sizes.append(size + _OVERHEAD)
        self._size += size + _OVERHEAD
        while self._size > self._limit and len(self.events) > 1:
            self.events.popleft()
            self._size -= self._sizes.popleft()
