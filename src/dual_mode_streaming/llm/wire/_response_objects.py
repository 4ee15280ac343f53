"""OpenAI's response object, its output items, and the events of both."""

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

from dual_mode_streaming.llm._events import (
    EventType,
    FinishReason,
    StreamEvent,
    ThinkingDelta,
    ToolCall,
    Usage,
)
from dual_mode_streaming.llm.wire._format import event_frame, message_of
from dual_mode_streaming.llm.wire._responses_items import REDACTED, text_of_custom
from dual_mode_streaming.sse import HEARTBEAT, dumps

_INCOMPLETE: Final[dict[FinishReason | None, str]] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}
"""The finish reasons of an incomplete response; with any other it is completed."""

Kind = Literal["message", "reasoning", "function_call"]
Calls = Mapping[str, Mapping[str, Any]]
"""The fields of calls of tools that are no plain functions, by the names of the tools."""

_IDS: Final[dict[Kind, str]] = {"message": "msg", "reasoning": "rs", "function_call": "fc"}
_GROWS: Final[dict[Kind, str]] = {
    "message": "response.output_text",
    "reasoning": "response.reasoning_text",
    "function_call": "response.function_call_arguments",
}
"""The names of the events of an item's content, before .delta and .done."""
_CUSTOM: Final = "response.custom_tool_call_input"


def response_object(
    identity: str,
    echo: Mapping[str, Any],
    whole: StreamEvent | None = None,
    output: list[dict[str, Any]] | None = None,
    calls: Calls = MappingProxyType({}),
) -> dict[str, Any]:
    """Return a response object.

    Args:
        identity: the id without its prefix.
        echo: the fields of the request to repeat.
        whole: the MESSAGE_COMPLETE; without it the response is in progress.
        output: the output items; those of the event's message if None.
        calls: what calls are that are more than calls of functions.
    """
    status = "in_progress"
    incomplete = None
    if whole is not None:
        incomplete = _INCOMPLETE.get(whole.finish_reason)
        status = "incomplete" if incomplete else "completed"
        output = _items(identity, whole, status, calls) if output is None else output
    return {
        "id": f"resp_{identity}",
        "object": "response",
        "created_at": int(time.time()),
        "completed_at": int(time.time()) if status == "completed" else None,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        **echo,
        "output": output or [],
        "usage": _usage(whole.usage or Usage()) if whole else None,
    }


class ResponseFrames:
    """Numbered events; an item is sent complete when it ends."""

    heartbeat = HEARTBEAT

    def __init__(
        self,
        identity: str,
        echo: Mapping[str, Any],
        calls: Calls = MappingProxyType({}),
        on_items: Callable[[list[dict[str, Any]]], None] | None = None,
    ) -> None:
        self.count = 0
        self._identity = identity
        self._echo = echo
        self._calls = calls
        self._on_items = on_items
        self._number = 2  # of the next event; the opening has 0 and 1
        self._items: list[dict[str, Any]] = []  # the complete ones
        self._kind: Kind | None = None  # of the open item
        self._call: ToolCall | None = None
        self._text: list[str] = []
        self._signature: str | None = None
        self._before_delta = b""
        self._ended: tuple[bytes, dict[str, Any]] | None = None

    def opening(self, *, retry: int | None = None, reset: Any = None) -> bytes:
        """Return the response as it begins; this format has neither retry nor reset."""
        begun = response_object(self._identity, self._echo)
        names = ("response.created", "response.in_progress")
        return b"".join(
            event_frame(name, sequence_number=number, response=begun)
            for number, name in enumerate(names)
        )

    def item(self, item: StreamEvent) -> bytes:
        """Return the frames of an event, with the start and the end of output items."""
        self.count += 1
        call = item.tool_call
        match item.type:
            case EventType.TEXT_DELTA if item.text_delta is not None:
                return self._grow("message", item.text_delta.content)
            case EventType.THINKING_DELTA if item.thinking_delta is not None:
                return self._think(item.thinking_delta)
            case EventType.TOOL_CALL_START if call is not None:
                made = ToolCall(id=call.id or "", name=call.name or "", arguments="")
                return self._end() + self._begin("function_call", made)
            case EventType.TOOL_CALL_DELTA if call is not None:
                if _is_custom(self._special(self._call)):  # its text is an argument of our function
                    self._text.append(call.arguments or "")
                    return b""
                return self._grow("function_call", call.arguments or "")
            case EventType.MESSAGE_COMPLETE:
                return self._complete(item)[0]
        return b""

    def complete(self, event: StreamEvent) -> dict[str, Any]:
        """Return the response that a MESSAGE_COMPLETE completes, before `item` gets the event."""
        self._ended = self._complete(event)
        return self._ended[1]

    def done(self) -> bytes:
        """Return nothing: the event of the complete response was the end."""
        return b""

    def failed(self, problem: Mapping[str, Any], *, final: bool = True) -> bytes:
        """Return the failed response and an error event.

        The error event has its fields twice: flat, as OpenAI documents it, and as the object that
        openai-python raises.
        """
        limited = problem["status"] == 429
        error = {
            "code": problem.get("code") or ("rate_limit_exceeded" if limited else "server_error"),
            "message": message_of(problem),
            "param": None,
        }
        failed = response_object(self._identity, self._echo, output=self._items)
        failed |= {"status": "failed", "error": error}
        typed = {"type": "requests" if limited else "server_error", **error}
        return self._frame("response.failed", response=failed) + self._frame(
            "error", **error, error=typed
        )

    def _complete(self, event: StreamEvent) -> tuple[bytes, dict[str, Any]]:
        if self._ended is not None:
            return self._ended
        frames = b""
        if self._kind is None and not self._items:  # no content: an empty message
            frames = self._begin("message")
        incomplete = event.finish_reason in _INCOMPLETE
        frames += self._end("incomplete" if incomplete else "completed")
        whole = response_object(self._identity, self._echo, event, self._items)
        if self._on_items is not None:
            self._on_items(self._items)
        return frames + self._frame(f"response.{whole['status']}", response=whole), whole

    def _think(self, thinking: ThinkingDelta) -> bytes:
        """Return the frames of a piece of thinking; a signature ends its item."""
        sealed = _sealed(thinking)
        frames = b""
        if sealed and (thinking.redacted or self._kind != "reasoning"):
            frames = self._end() + self._begin("reasoning")
        frames += self._grow("reasoning", thinking.content)
        if sealed:
            self._signature = sealed
            frames += self._end()
        return frames

    def _grow(self, kind: Kind, text: str) -> bytes:
        """Return the delta of an item; a new item ends the open one and starts."""
        if not text:
            return b""
        begun = b"" if kind == self._kind else self._end() + self._begin(kind)
        self._text.append(text)
        delta = b'%b,"sequence_number":%d,"delta":%b}\n\n' % (
            self._before_delta,
            self._number,
            dumps(text),
        )
        self._number += 1
        return begun + delta

    def _begin(self, kind: Kind, call: ToolCall | None = None) -> bytes:
        self._kind, self._call, self._text = kind, call, []
        index = len(self._items)
        special = self._special(call)
        item = _item(self._identity, index, kind, None, "in_progress", call=call, special=special)
        frames = self._frame("response.output_item.added", output_index=index, item=item)
        if kind != "function_call":
            part = self._frame("response.content_part.added", **self._where(), part=_part(kind, ""))
            frames += part
        # The part that all deltas share is encoded once.
        logprobs: dict[str, Any] = {"logprobs": []} if kind == "message" else {}
        name = f"{_GROWS[kind]}.delta"
        fixed = dumps({"type": name, **self._where(), **logprobs})[:-1]
        self._before_delta = b"event: %b\ndata: %b" % (name.encode(), fixed)
        return frames

    def _end(self, status: str = "completed") -> bytes:
        """Return the end of the open item with its whole content, if one is open."""
        kind, where, text = self._kind, self._where(), "".join(self._text)
        if kind is None:
            return b""
        if _is_custom(self._special(self._call)):
            given = text_of_custom(text)
            frames = self._frame(f"{_CUSTOM}.delta", **where, delta=given)
            frames += self._frame(f"{_CUSTOM}.done", **where, input=given)
        elif kind == "function_call":
            frames = self._frame(f"{_GROWS[kind]}.done", **where, arguments=text)
        else:
            logprobs: dict[str, Any] = {"logprobs": []} if kind == "message" else {}
            frames = self._frame(f"{_GROWS[kind]}.done", **where, text=text, **logprobs)
            part = _part(kind, text)
            frames += self._frame("response.content_part.done", **where, part=part)
        whole = _item(
            self._identity,
            len(self._items),
            kind,
            text,
            status,
            call=self._call,
            signature=self._signature,
            special=self._special(self._call),
        )
        frames += self._frame(
            "response.output_item.done", output_index=len(self._items), item=whole
        )
        self._items.append(whole)
        self._kind = self._signature = None
        return frames

    def _special(self, call: ToolCall | None) -> Mapping[str, Any]:
        return {} if call is None else self._calls.get(call.name, {})

    def _where(self) -> dict[str, Any]:
        """Return the fields that name the open item and its part."""
        if self._kind is None:
            return {}
        index = len(self._items)
        special = self._special(self._call)
        identity = _item_id(self._identity, index, self._kind, special)
        where = {"item_id": identity, "output_index": index}
        return where if self._kind == "function_call" else {**where, "content_index": 0}

    def _frame(self, name: str, **data: Any) -> bytes:
        self._number += 1
        return event_frame(name, sequence_number=self._number - 1, **data)


def _items(identity: str, whole: StreamEvent, status: str, calls: Calls) -> list[dict[str, Any]]:
    """Return the items of a message; only the last can be incomplete."""
    message = whole.message
    assert message is not None
    parts: list[tuple[Kind, str, ToolCall | None, str | None]] = [
        ("reasoning", thought.content, None, _sealed(thought)) for thought in message.thoughts
    ]
    if message.content:
        parts.append(("message", message.content, None, None))
    parts += [("function_call", call.arguments, call, None) for call in message.tool_calls]
    parts = parts or [("message", "", None, None)]
    return [
        _item(
            identity,
            index,
            kind,
            text,
            status if index == len(parts) - 1 and not sealed else "completed",
            call=call,
            signature=sealed,
            special=calls.get(call.name, {}) if call is not None else {},
        )
        for index, (kind, text, call, sealed) in enumerate(parts)
    ]


def _sealed(thinking: ThinkingDelta) -> str | None:
    return REDACTED + thinking.redacted if thinking.redacted else thinking.signature


def _item(
    identity: str,
    index: int,
    kind: Kind,
    text: str | None,
    status: str,
    *,
    call: ToolCall | None = None,
    signature: str | None = None,
    special: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return an output item; without text it has only begun."""
    item = {"type": kind, "id": _item_id(identity, index, kind, special), "status": status}
    if call is not None:
        item |= {"call_id": call.id, "name": call.name, **special}
        if item["type"] == "custom_tool_call":
            return {**item, "input": text_of_custom(text or "")}
        return {**item, "arguments": text or ""}
    content = [] if text is None else [_part(kind, text)]
    if kind == "message":
        return {**item, "role": "assistant", "content": content}
    sealed = {"encrypted_content": signature} if signature else {}
    return {**item, "summary": [], "content": content, **sealed}


def _item_id(identity: str, index: int, kind: Kind, special: Mapping[str, Any]) -> str:
    return f"{'ctc' if _is_custom(special) else _IDS[kind]}_{identity}_{index}"


def _is_custom(special: Mapping[str, Any]) -> bool:
    return special.get("type") == "custom_tool_call"


def _part(kind: Kind, text: str) -> dict[str, Any]:
    if kind == "reasoning":
        return {"type": "reasoning_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }
