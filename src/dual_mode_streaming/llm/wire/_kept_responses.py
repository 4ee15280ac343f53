"""OpenAI's responses as they are kept: their object at any time, and their input."""

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Final

import pydantic_core

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm.wire._format import event_frame, message_of
from dual_mode_streaming.llm.wire._recorded import RecordedAnswer
from dual_mode_streaming.recordings import StreamRecord
from dual_mode_streaming.sse import dumps

_PREFIXES: Final = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
}
_ITEM_DONE: Final = b"event: response.output_item.done\n"
_TERMINAL: Final = tuple(
    f"event: response.{name}\n".encode() for name in ("completed", "incomplete", "failed")
)


def head_of(response: Mapping[str, Any], given: list[Any]) -> bytes:
    """Return what is kept with a response: its object as it begins, and its whole input."""
    return dumps({"response": response, "input": given})


def as_items(given: Any) -> list[Any]:
    """Return the input of a request as a list of items."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    return given if isinstance(given, list) else []


def without_ids(items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return output items as input: their ids mean nothing to another service."""
    return [
        {name: value for name, value in item.items() if name not in ("id", "status")}
        if item.get("type") != "reasoning"
        else item
        for item in items
    ]


def frame_object(frame: bytes) -> dict[str, Any]:
    """Return the JSON object of an event."""
    found: dict[str, Any] = pydantic_core.from_json(frame.partition(b"\ndata: ")[2])
    return found


async def to_terminal(frames: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield frames up to the terminal event of a response, and close them."""
    async with aclosing(frames):
        async for frame in frames:
            yield frame
            if frame.startswith(_TERMINAL):
                return


class KeptResponse:
    """A response that is kept.

    Attributes:
        answer: its recording.
        input: the items that it was made from, those of earlier responses included.
    """

    def __init__(self, answer: RecordedAnswer, head: bytes) -> None:
        kept = pydantic_core.from_json(head)
        self.answer = answer
        self.input: list[dict[str, Any]] = kept["input"]
        self._begun: dict[str, Any] = kept["response"]

    @property
    def id(self) -> str:
        """The id."""
        return str(self._begun["id"])

    @property
    def is_background(self) -> bool:
        """Whether it was made in the background."""
        return self._begun["background"] is True

    @property
    def is_running(self) -> bool:
        """Whether it is being made."""
        return self.answer.info.state == "running"

    async def as_object(self) -> dict[str, Any]:
        """Return the response object."""
        info = self.answer.info
        if info.state == "done":
            found: dict[str, Any] = frame_object(await self.answer.last())["response"]
            return found
        if info.state == "running":
            return self._begun | {"status": "cancelled" if info.cancelling else "in_progress"}
        entries = await self.answer.recordings.store.read(info.new.stream, info.head - 1)
        return await self._ended(StreamRecord.unpack(entries[0].payload))

    def as_queued(self) -> dict[str, Any]:
        """Return the response object as the answer to its request."""
        return self._begun | {"status": "queued"}

    def frames(self, after: int) -> AsyncGenerator[bytes, None]:
        """Yield the events after the one with this number."""
        return self.answer.frames(after, self._last_event)

    async def _last_event(self, end: StreamRecord, number: int) -> bytes:
        """Return the event of an end that the response did not have itself."""
        response = await self._ended(end)
        # OpenAI has no event of a cancelled response: its clients know this one as an end.
        name = "failed" if response["status"] == "failed" else "incomplete"
        return event_frame(f"response.{name}", sequence_number=number, response=response)

    async def _ended(self, end: StreamRecord) -> dict[str, Any]:
        """Return the object of a response that something else ended."""
        output = [
            frame_object(frame)["item"]
            async for frame in self.answer.stored()
            if frame.startswith(_ITEM_DONE)
        ]
        if end.name == "cancelled":
            return self._begun | {"status": "cancelled", "output": output}
        message = "the process that made this response has ended; create the response again"
        if end.is_error:
            message = message_of(pydantic_core.from_json(end.data))
        error = {"code": "server_error", "message": message}
        return self._begun | {"status": "failed", "output": output, "error": error}

    def input_items(self, *, after: str | None, limit: int, ascending: bool) -> dict[str, Any]:
        """Return a page of the items that it was made from.

        Raises:
            Problem: there is no item `after`.
        """
        items = [_listed(item, self.id, number) for number, item in enumerate(self.input)]
        if not ascending:
            items.reverse()
        first = 0
        if after is not None:
            ids = [item["id"] for item in items]
            if after not in ids:
                raise Problem(400, f"after: there is no item {after[:80]!r}", param="after")
            first = ids.index(after) + 1
        page = items[first : first + limit]
        return {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": first + limit < len(items),
        }


def _listed(item: dict[str, Any], response: str, number: int) -> dict[str, Any]:
    """Return an item of the input with all that its type needs."""
    kind = item.get("type") or "message"
    prefix = _PREFIXES.get(kind, "item")
    identity = item.get("id") or f"{prefix}_{response.removeprefix('resp_')}_in{number}"
    listed = {"status": "completed", **item, "type": kind, "id": identity}
    if kind == "message" and isinstance(item.get("content"), str):
        is_output = item.get("role") == "assistant"
        part: dict[str, Any] = {"type": "input_text", "text": item["content"]}
        if is_output:
            part = {**part, "type": "output_text", "annotations": [], "logprobs": []}
        listed["content"] = [part]
    return listed
