"""The format of a model's API as a `WireFormat`, for endpoints with generators of one's own."""

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal, cast

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm._events import EventType, StreamEvent, Usage, fold
from dual_mode_streaming.llm._requests import ChatRequest
from dual_mode_streaming.llm.wire._format import ModelFormat, WireRequest
from dual_mode_streaming.llm.wire._items import deltas_of, event_of, problem_of_event
from dual_mode_streaming.llm.wire._parsing import parse_request
from dual_mode_streaming.rendering import Frames

_ASKED = ChatRequest.model_validate({"messages": "?"})
_END = StreamEvent(type=EventType.MESSAGE_COMPLETE, finish_reason="stop", usage=Usage())


class ModelWire:
    """The base of the formats of models: `dual_mode(wire=OpenAIChat())`.

    Items are text and `StreamEvent`s. The field `stream` of the body chooses the mode.
    """

    headers: Mapping[str, str] = {}
    key = ""
    resume: Literal["newest", "each"] = "each"

    def begin(self, body: Any) -> Mapping[str, Any]:
        """Return what the answer repeats of a request. Raises Problem."""
        if not isinstance(body, dict):
            raise Problem(400, "the body must be a JSON object")
        request = parse_request(cast(ModelFormat, self), body, {})
        if request.chat.origin is not None and request.chat.origin.problem is not None:
            raise request.chat.origin.problem
        return {
            "stream": request.stream,
            "model": request.model,
            "usage_chunk": request.usage_chunk,
            "echo": {**request.echo, "created_at": int(time.time())},
            "calls": dict(request.calls),
        }

    def frames(self, begun: Mapping[str, Any], identity: str) -> Frames:
        """Return the frames of one answer."""
        made = cast(ModelFormat, self).answer_frames(_asked(begun), f"req_{identity}", 0)
        return _ModelFrames(made)

    async def whole(
        self, begun: Mapping[str, Any], identity: str, items: AsyncIterator[Any]
    ) -> dict[str, Any]:
        """Return the body of an answer that is not streamed. Raises Problem."""
        events = [event async for item in items for event in _events_of(item)]
        if not events or not events[-1].is_final:
            events.append(_END)
        event = fold(events)
        if event.type is EventType.ERROR:
            body = problem_of_event(event)
            raise Problem(body["status"], body["detail"])
        return cast(ModelFormat, self).batch(_asked(begun), f"req_{identity}", event)


class _ModelFrames:
    """The frames of a model's API, whose items are text too, and which end by themselves."""

    def __init__(self, made: Frames) -> None:
        self.count = 0
        self.heartbeat = made.heartbeat
        self._made: Frames = made
        self._has_ended = self._has_failed = False

    def opening(self, *, retry: int | None = None, reset: Any = None) -> bytes:
        """Return the frames before the first item."""
        return self._made.opening()

    def item(self, item: Any) -> bytes:
        """Return the frames of an item; nothing after the end."""
        self.count += 1
        return b"".join(self._event(event) for event in _events_of(item))

    def done(self) -> bytes:
        """Return the end of the answer."""
        if self._has_failed:
            return b""
        return (b"" if self._has_ended else self._made.item(_END)) + self._made.done()

    def failed(self, problem: Mapping[str, Any], *, final: bool = True) -> bytes | None:
        """Return the end of a failed answer."""
        if self._has_failed:
            return b""
        self._has_failed = True
        return self._made.failed(problem, final=final)

    def _event(self, event: StreamEvent) -> bytes:
        if self._has_ended or self._has_failed:
            return b""
        if event.type is EventType.ERROR:
            return self.failed(problem_of_event(event)) or b""
        self._has_ended = event.is_final
        return self._made.item(event)


def _events_of(item: Any) -> list[StreamEvent]:
    event = event_of(item)
    if isinstance(event, dict):
        raise TypeError(f"this format has text and StreamEvents, not {event!r:.80}")
    if event.message is None:
        return [event]
    return [*deltas_of(event.message), event.model_copy(update={"message": None})]


def _asked(begun: Mapping[str, Any]) -> WireRequest:
    return WireRequest(_ASKED, **begun)
