"""The tool calls of one answer, in the order of events: one is open at a time."""

import json
from collections.abc import Iterator
from typing import Any

from dual_mode_streaming.llm._events import EventType, StreamEvent, ToolCallDelta
from dual_mode_streaming.llm._fields import clean


class _OpenCall:
    def __init__(self, index: int) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []
        self.sent = 0  # pieces of the arguments that were yielded
        self.is_open = False


class ToolCalls:
    """Orders the pieces of tool calls. Pieces of calls that are mixed wait for the open one.

    A call opens when its name is known and the one before it has ended. It has ended when the API
    says so, or when another waits and its arguments are an object.
    """

    def __init__(self) -> None:
        self.count = 0
        self._calls: dict[Any, _OpenCall] = {}
        self._waiting: list[_OpenCall] = []

    def __contains__(self, key: Any) -> bool:
        return key in self._calls

    def id_of(self, key: Any) -> str:
        """Return the id of a call, empty if it has none."""
        return self._calls[key].id

    def add(
        self, key: Any, identity: Any = None, name: Any = None, arguments: Any = None
    ) -> Iterator[StreamEvent]:
        """Add a piece of the call `key`. A piece with a new id and a name begins another call."""
        call = self._calls.get(key)
        identity = clean(identity) if isinstance(identity, str) else ""
        name = clean(name) if isinstance(name, str) else ""
        if call is None or (identity and name and call.id and identity != call.id):
            call = self._calls[key] = _OpenCall(self.count)
            self.count += 1
            self._waiting.append(call)
        call.id = call.id or identity
        call.name = call.name or name
        if text := clean(arguments_text(arguments)):
            call.arguments.append(text)
        yield from self._advance()

    def end(self, key: Any) -> Iterator[StreamEvent]:
        """End the call `key`: no more pieces of it come."""
        if (call := self._calls.get(key)) in self._waiting[:1] and call is not None and call.name:
            yield from self._send(call)
            yield from self._close(call)
            yield from self._advance()

    def end_all(self) -> Iterator[StreamEvent]:
        """End every call that is left; one without a name is named "unknown"."""
        while self._waiting:
            call = self._waiting[0]
            call.name = call.name or "unknown"
            yield from self._send(call)
            yield from self._close(call)

    def _advance(self) -> Iterator[StreamEvent]:
        while self._waiting and (call := self._waiting[0]).name:
            yield from self._send(call)
            if len(self._waiting) == 1 or not is_object("".join(call.arguments)):
                return
            yield from self._close(call)

    def _send(self, call: _OpenCall) -> Iterator[StreamEvent]:
        if not call.is_open:
            call.is_open = True
            call.id = call.id or f"call_{call.index}"
            head = ToolCallDelta(index=call.index, id=call.id, name=call.name)
            yield StreamEvent(type=EventType.TOOL_CALL_START, tool_call=head)
        for text in call.arguments[call.sent :]:
            call.sent += 1
            yield _piece(call, text)

    def _close(self, call: _OpenCall) -> Iterator[StreamEvent]:
        self._waiting.remove(call)
        if not "".join(call.arguments).strip():
            yield _piece(call, "{}")
        end = ToolCallDelta(index=call.index)
        yield StreamEvent(type=EventType.TOOL_CALL_END, tool_call=end)


def _piece(call: _OpenCall, text: str) -> StreamEvent:
    part = ToolCallDelta(index=call.index, arguments=text)
    return StreamEvent(type=EventType.TOOL_CALL_DELTA, tool_call=part)


def arguments_text(arguments: Any) -> str:
    """Return arguments as JSON text: text as it is, nothing for None, anything else dumped."""
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    try:
        return json.dumps(arguments, ensure_ascii=False)
    except (TypeError, ValueError):
        return ""


def is_object(text: str) -> bool:
    """Return whether `text` is a JSON object."""
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def object_of(arguments: str) -> dict[str, Any]:
    """Return the object that arguments are; arguments that were cut are under the key "cut"."""
    try:
        value = json.loads(arguments or "{}")
    except ValueError:
        return {"cut": arguments}
    return value if isinstance(value, dict) else {"value": value}
