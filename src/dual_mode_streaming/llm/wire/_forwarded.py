"""The frames of an answer that its provider gave in the caller's own wire format."""

from collections.abc import Mapping
from typing import Any

from dual_mode_streaming.llm._forwarding import Answer, Forwarded
from dual_mode_streaming.rendering import Frames
from dual_mode_streaming.sse import escape_line_separators


class ForwardedFrames:
    """Frames that send chunks as they came; events are framed by the wire format.

    Args:
        made: the frames of the wire format, for events, for failures, and for the end.
    """

    def __init__(self, made: Frames) -> None:
        self.count = 0
        self.heartbeat = made.heartbeat
        self._made: Frames = made
        self._opened = False

    def opening(self, *, retry: int | None = None, reset: Any = None) -> bytes:
        """Return nothing: the provider opens the answer."""
        return b""

    def item(self, item: Answer) -> bytes:
        """Return the frame of a chunk, or those of an event."""
        self.count += 1
        if isinstance(item, Forwarded):
            return b"" if item.data is None else _frame(item.name, item.data)
        opening = b"" if self._opened else self._made.opening()
        self._opened = True
        return opening + self._made.item(item)

    def done(self) -> bytes:
        """Return the end of a complete answer."""
        return self._made.done()

    def failed(self, problem: Mapping[str, Any], *, final: bool = True) -> bytes | None:
        """Return the provider's own error, or the one of the wire format."""
        upstream = problem.get("upstream")
        if isinstance(upstream, Mapping) and isinstance(data := upstream.get("data"), str):
            return _frame(upstream.get("name"), data)
        return self._made.failed(problem, final=final)


def _frame(name: str | None, text: str) -> bytes:
    data = text.encode()
    if not text.isascii():
        data = escape_line_separators(data)
    if b"\n" in data:
        data = data.replace(b"\n", b"\ndata: ")
    named = b"event: %b\n" % name.encode() if name else b""
    return b"%bdata: %b\n\n" % (named, data)
