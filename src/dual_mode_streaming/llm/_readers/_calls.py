"""The tool calls of one answer, in the order of events: one is open at a time."""

import secrets
from collections.abc import Iterator
from typing import Any

from dual_mode_streaming.llm._events import EventType, StreamEvent, ToolCallDelta
from dual_mode_streaming.llm._fields import clean
from dual_mode_streaming.llm._readers._arguments import Arguments, arguments_text


class _OpenCall:
    def __init__(self, index: int) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.text: list[str] = []  # pieces of the arguments that were not yielded
        self.received: list[str] = []
        self.arguments = Arguments()
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
        self._ids: set[str] = set()

    def __contains__(self, key: Any) -> bool:
        return key in self._calls

    def add(
        self, key: Any, identity: Any = None, name: Any = None, arguments: Any = None
    ) -> Iterator[StreamEvent]:
        """Add a piece of the call `key`. A piece with a new id and a name begins another call.

        So does a piece without an id after a call that is complete, if it has a name and arguments,
        or another object.
        """
        call = self._calls.get(key)
        identity = clean(identity) if isinstance(identity, str) else ""
        name = clean(name) if isinstance(name, str) else ""
        text = clean(arguments_text(arguments))
        if call is None or (call.name and _is_another(call, identity, name, text)):
            name = name or (call.name if call else "")  # an object without a name is another of it
            call = self._calls[key] = _OpenCall(self.count)
            self.count += 1
            self._waiting.append(call)
        call.id = call.id or identity
        call.name = call.name or name
        call.received.append(text)
        if passed := call.arguments.feed(text):
            call.text.append(passed)
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
            if len(self._waiting) == 1 or not call.arguments.is_complete:
                return
            yield from self._close(call)

    def _send(self, call: _OpenCall) -> Iterator[StreamEvent]:
        if not call.is_open:
            call.is_open = True
            if not call.id or call.id in self._ids:
                call.id = f"call_{secrets.token_hex(8)}"  # it is unique in a conversation
            self._ids.add(call.id)
            head = ToolCallDelta(index=call.index, id=call.id, name=call.name)
            yield StreamEvent(type=EventType.TOOL_CALL_START, tool_call=head)
        for text in call.text:
            yield _piece(call, text)
        call.text = []

    def _close(self, call: _OpenCall) -> Iterator[StreamEvent]:
        self._waiting.remove(call)
        if rest := call.arguments.end():
            yield _piece(call, rest)
        end = ToolCallDelta(index=call.index)
        yield StreamEvent(type=EventType.TOOL_CALL_END, tool_call=end)


def _is_another(call: _OpenCall, identity: str, name: str, text: str) -> bool:
    if identity and call.id:
        return identity != call.id and bool(name)
    if not call.arguments.is_complete:
        return False
    if name:
        return name != call.name or bool(text)
    before = "".join(call.received)
    return text.startswith("{") and before not in ("{}", text)  # a repetition is none


def _piece(call: _OpenCall, text: str) -> StreamEvent:
    part = ToolCallDelta(index=call.index, arguments=text)
    return StreamEvent(type=EventType.TOOL_CALL_DELTA, tool_call=part)
