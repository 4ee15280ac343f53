"""AG-UI 1.0, which CopilotKit, TanStack AI and `@ag-ui/client` read."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm._events import StreamEvent, ToolResult
from dual_mode_streaming.llm.wire._items import PartFrames, frame

_IDS: Final = ("messageId", "toolCallId", "stepName")
"""What names the object that an event begins or ends."""


class AGUI:
    """The wire format of AG-UI: `dual_mode(wire=AGUI(), record=True)`.

    The key is the id of the run. Frames have ids, so a client goes on after the last one that it
    has seen. Items are text, `StreamEvent`s, and events of the protocol as objects, such as
    `{"type": "STATE_DELTA", "delta": […]}`; an object of another type is a RAW event. A run that
    waits for its user ends in `{"type": "RUN_FINISHED", "outcome": {"type": "interrupt", …}}`.
    """

    headers: Mapping[str, str] = {}
    key = "runId"
    resume: Literal["newest", "each"] = "each"

    def begin(self, body: Any) -> Mapping[str, Any]:
        """Return the ids of the run and its thread."""
        body = body if isinstance(body, dict) else {}
        begun = {}
        for name in ("threadId", "runId"):
            if (value := body.get(name)) is not None:
                if not isinstance(value, str):
                    raise Problem(400, f"{name}: a string is needed", param=name)
                begun[name] = value
        if "runId" in begun:
            begun["key"] = begun["runId"]
        return begun

    def frames(self, begun: Mapping[str, Any], identity: str) -> "AGUIFrames":
        """Return the events of one run."""
        thread = str(begun.get("threadId") or f"thread_{identity}")
        return AGUIFrames(thread, str(begun.get("runId") or f"run_{identity}"), identity)

    def error(self, problem: Problem) -> Any:
        """Return the refusal as a RUN_ERROR."""
        code = problem.code or str(problem.status_code)
        return {"type": "RUN_ERROR", "message": str(problem.detail), "code": code}


class AGUIFrames(PartFrames):
    """Unnamed events. RUN_FINISHED or RUN_ERROR is the last one."""

    def __init__(self, thread: str, run: str, identity: str) -> None:
        super().__init__()
        self._run = {"threadId": thread, "runId": run}
        self._identity = identity
        self._given: set[tuple[str, ...]] = set()  # the objects that are open: the kind and the id

    def opening(self, *, retry: int | None = None, reset: Any = None) -> bytes:
        """Return the start of the run."""
        return frame({"type": "RUN_STARTED", **self._run})

    def _chunk(self, chunk: dict[str, Any]) -> bytes:
        kind = chunk["type"]
        if not kind.replace("_", "").isupper():
            return frame({"type": "RAW", "event": chunk})
        if kind == "RUN_STARTED":  # it has begun already
            return b""
        if kind == "RUN_FINISHED":
            self._is_complete = True
            return self._end_parts() + frame({**self._usage(), **chunk, **self._run})
        if kind == "RUN_ERROR":
            self._is_complete = True
            return self._end_part() + frame(chunk)
        name, _, step = kind.rpartition("_")
        which = (name, *(str(chunk[key]) for key in _IDS if key in chunk))
        if step in ("START", "STARTED"):
            self._given.add(which)
        elif step in ("END", "FINISHED"):
            self._given.discard(which)
        return frame(chunk)

    def _begin_part(self, kind: str) -> bytes:
        message = {"messageId": self._id()}
        if kind == "text":
            return frame({"type": "TEXT_MESSAGE_START", **message, "role": "assistant"})
        return frame({"type": "REASONING_START", **message}) + frame(
            {"type": "REASONING_MESSAGE_START", **message, "role": "reasoning"}
        )

    def _delta(self, kind: str, text: str) -> bytes:
        name = "TEXT_MESSAGE_CONTENT" if kind == "text" else "REASONING_MESSAGE_CONTENT"
        return frame({"type": name, "messageId": self._id(), "delta": text})

    def _finish_part(self, kind: str) -> bytes:
        message = {"messageId": self._id()}
        if kind == "text":
            return frame({"type": "TEXT_MESSAGE_END", **message})
        return frame({"type": "REASONING_MESSAGE_END", **message}) + frame(
            {"type": "REASONING_END", **message}
        )

    def _begin_call(self, identity: str, name: str) -> bytes:
        return frame({"type": "TOOL_CALL_START", "toolCallId": identity, "toolCallName": name})

    def _grow_call(self, identity: str, text: str) -> bytes:
        return frame({"type": "TOOL_CALL_ARGS", "toolCallId": identity, "delta": text})

    def _end_call(self, identity: str, name: str, arguments: str) -> bytes:
        return frame({"type": "TOOL_CALL_END", "toolCallId": identity})

    def _result(self, result: ToolResult) -> bytes:
        self._parts += 1
        about = {"messageId": self._id(), "toolCallId": result.id, "role": "tool"}
        return frame({"type": "TOOL_CALL_RESULT", **about, "content": result.content})

    def _complete(self, event: StreamEvent | None) -> bytes:
        return frame({"type": "RUN_FINISHED", **self._run, **self._usage()})

    def _error(self, message: str, code: str | None) -> bytes:
        return frame({"type": "RUN_ERROR", "message": message, "code": code or "error"})

    def _abort(self) -> bytes:
        if self._calls or self._given:  # the protocol forbids RUN_FINISHED while something is open
            return self._error("the run was stopped", "cancelled")
        return frame({"type": "RUN_FINISHED", **self._run, "outcome": {"type": "cancelled"}})

    def _usage(self) -> dict[str, Any]:
        usage = self._completion.usage if self._completion is not None else None
        if usage is None or not usage.total_tokens:
            return {}
        counts = {
            "inputTokens": usage.input_tokens,
            "outputTokens": usage.output_tokens,
            "totalTokens": usage.total_tokens,
            "reasoningTokens": usage.reasoning_tokens,
            "cachedInputTokens": usage.cache_read_tokens,
            "cacheWriteInputTokens": usage.cache_write_tokens,
        }
        return {"usage": [{name: count for name, count in counts.items() if count}]}

    def _id(self) -> str:
        return f"msg_{self._identity}_{self._parts}"
